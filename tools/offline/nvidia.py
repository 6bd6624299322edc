"""What NVIDIA's compiler makes of naga's HLSL: registers, local memory and the hottest loop's instructions, without a GPU.

HLSL becomes CUDA C++ by a shim of vector types and buffer classes, NVRTC compiles it, cuobjdump disassembles it. It is the sibling of
the compiler in NVIDIA's Vulkan driver, not that compiler itself: there are no bounds checks, and its heuristics are its own.

usage: nvidia.py SOURCES FLOORS [show|check|record] [ARCHITECTURE...]
"""

import ctypes
import glob
import math
import os
import re
import subprocess
import sys
import tempfile

ARCHITECTURES = ['sm_80', 'sm_90', 'sm_120']

# A hot loop with fewer multiply-adds is not a product's or a convolution's.
MULTIPLYING = 32

SHIM = r'''
typedef unsigned int uint;
typedef uint2 CU2; typedef uint4 CU4;
template <class T> struct V2; template <class T> struct V3; template <class T> struct V4;
#define VEC(N, ...) \
  template <class T> struct alignas((N == 3 ? 4 : N * 4)) V##N { T __VA_ARGS__; \
    __device__ T& operator[](uint i) { return (&x)[i]; } __device__ const T& operator[](uint i) const { return (&x)[i]; }
VEC(2, x, y) V2() = default; __device__ V2(T a, T b) : x(a), y(b) {} __device__ V2(T a) : x(a), y(a) {} };
VEC(3, x, y, z) V3() = default; __device__ V3(T a, T b, T c) : x(a), y(b), z(c) {} __device__ V3(T a) : x(a), y(a), z(a) {} };
VEC(4, x, y, z, w) V4() = default; __device__ V4(T a, T b, T c, T d) : x(a), y(b), z(c), w(d) {} __device__ V4(T a) : x(a), y(a), z(a), w(a) {} };
#define EACH(OP) \
  template <class T> __device__ auto operator OP(V2<T> a, V2<T> b) { return V2<decltype(a.x OP b.x)>(a.x OP b.x, a.y OP b.y); } \
  template <class T> __device__ auto operator OP(V3<T> a, V3<T> b) { return V3<decltype(a.x OP b.x)>(a.x OP b.x, a.y OP b.y, a.z OP b.z); } \
  template <class T> __device__ auto operator OP(V4<T> a, V4<T> b) { return V4<decltype(a.x OP b.x)>(a.x OP b.x, a.y OP b.y, a.z OP b.z, a.w OP b.w); } \
  template <class T> __device__ auto operator OP(V4<T> a, T b) { return a OP V4<T>(b); } \
  template <class T> __device__ auto operator OP(T a, V4<T> b) { return V4<T>(a) OP b; } \
  template <class T> __device__ auto operator OP(V2<T> a, T b) { return a OP V2<T>(b); } \
  template <class T> __device__ auto operator OP(T a, V2<T> b) { return V2<T>(a) OP b; }
EACH(+) EACH(-) EACH(*) EACH(/) EACH(<) EACH(>) EACH(<=) EACH(>=) EACH(==) EACH(!=) EACH(&) EACH(|) EACH(^) EACH(<<) EACH(>>)
template <class T> __device__ V4<T> operator-(V4<T> a) { return V4<T>(-a.x, -a.y, -a.z, -a.w); }
typedef V2<float> F2; typedef V3<float> F3; typedef V4<float> F4; typedef V2<uint> U2; typedef V3<uint> U3; typedef V4<uint> U4;
typedef V2<int> I2; typedef V3<int> I3; typedef V4<int> I4; typedef V2<bool> B2; typedef V3<bool> B3; typedef V4<bool> B4;
#define float2 F2
#define float3 F3
#define float4 F4
#define uint2 U2
#define uint3 U3
#define uint4 U4
#define int2 I2
#define int4 I4
#define bool2 B2
#define bool4 B4
__device__ float asfloat(uint a) { return __uint_as_float(a); } __device__ float asfloat(int a) { return __int_as_float(a); } __device__ float asfloat(float a) { return a; }
__device__ uint asuint(float a) { return __float_as_uint(a); } __device__ uint asuint(int a) { return a; } __device__ uint asuint(uint a) { return a; }
__device__ int asint(float a) { return __float_as_int(a); } __device__ int asint(uint a) { return a; } __device__ int asint(int a) { return a; }
#define AS(F, R) \
  template <class T> __device__ V2<R> F(V2<T> a) { return V2<R>(F(a.x), F(a.y)); } \
  template <class T> __device__ V3<R> F(V3<T> a) { return V3<R>(F(a.x), F(a.y), F(a.z)); } \
  template <class T> __device__ V4<R> F(V4<T> a) { return V4<R>(F(a.x), F(a.y), F(a.z), F(a.w)); }
AS(asfloat, float) AS(asuint, uint) AS(asint, int)
__device__ float mad(float a, float b, float c) { return fmaf(a, b, c); }
__device__ F4 mad(F4 a, F4 b, F4 c) { return F4(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w)); }
__device__ F2 mad(F2 a, F2 b, F2 c) { return F2(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y)); }
template <class T> __device__ T clamp(T a, T l, T h) { return min(max(a, l), h); }
__device__ float saturate(float a) { return __saturatef(a); } __device__ float rcp(float a) { return 1.0f / a; }
__device__ float frac(float a) { return a - floorf(a); } __device__ int sign(float a) { return (a > 0.f) - (a < 0.f); }
__device__ uint firstbithigh(uint a) { return 31 - __clz(a); } __device__ uint countbits(uint a) { return __popc(a); }
template <class T> __device__ T lerp(T a, T b, T t) { return a + (b - a) * t; }
template <class T> __device__ V4<T> splat4(T a) { return V4<T>(a); } template <class T> __device__ V3<T> splat3(T a) { return V3<T>(a); } template <class T> __device__ V2<T> splat2(T a) { return V2<T>(a); }
struct RBuf { const char* p;
  __device__ uint Load(uint a) const { return __ldg((const uint*)(p + a)); }
  __device__ U2 Load2(uint a) const { auto v = __ldg((const CU2*)(p + a)); return U2(v.x, v.y); }
  __device__ U3 Load3(uint a) const { return U3(Load(a), Load(a + 4), Load(a + 8)); }
  __device__ U4 Load4(uint a) const { auto v = __ldg((const CU4*)(p + a)); return U4(v.x, v.y, v.z, v.w); } };
struct WBuf { char* p;
  __device__ uint Load(uint a) const { return *(const uint*)(p + a); }
  __device__ U2 Load2(uint a) const { auto v = *(const CU2*)(p + a); return U2(v.x, v.y); }
  __device__ U4 Load4(uint a) const { auto v = *(const CU4*)(p + a); return U4(v.x, v.y, v.z, v.w); }
  __device__ void Store(uint a, uint v) const { *(uint*)(p + a) = v; }
  __device__ void Store2(uint a, U2 v) const { *(U2*)(p + a) = v; }
  __device__ void Store4(uint a, U4 v) const { *(U4*)(p + a) = v; } };
template <class T, int N> struct Arr { T v[N]; __device__ T& operator[](uint i) { return v[i]; } __device__ const T& operator[](uint i) const { return v[i]; } };
template <class T> __device__ T select(bool c, T a, T b) { return c ? a : b; }
'''

def splats(text):
    for suffix, name in (('.xxxx', 'splat4'), ('.xxx', 'splat3'), ('.xx', 'splat2')):
        at = text.find(')' + suffix)
        while at >= 0:
            depth, start = 0, at
            while True:
                depth += {')': 1, '(': -1}.get(text[start], 0)
                if depth == 0:
                    break
                start -= 1
            text = text[:start] + name + text[start:at + 1] + text[at + 1 + len(suffix):]
            at = text.find(')' + suffix, at)
    return text

def convert(text):
    text = splats(text)
    text = re.sub(r'cbuffer (\w+) : register\([^)]*\) \{ (\w+) (\w+)\[(\d+)\]; \}', r'__constant__ \2 \3[\4];', text)
    text = re.sub(r'RWByteAddressBuffer (\w+) : register\([^)]*\);', r'__constant__ WBuf \1;', text)
    text = re.sub(r'ByteAddressBuffer (\w+) : register\([^)]*\);', r'__constant__ RBuf \1;', text)
    text = text.replace('groupshared', '__shared__').replace('GroupMemoryBarrierWithGroupSync()', '__syncthreads()')
    text = re.sub(r'typedef (\w+) (ret_\w+)\[(\d+)\];', r'typedef Arr<\1, \3> \2;', text)
    text = re.sub(r'\((\w+)\[(\d+)\]\)0', r'Arr<\1, \2>{}', text)
    text = re.sub(r'^(    +)(\w+) (\w+)\[(\d+)\] =', r'\1Arr<\2, \4> \3 =', text, flags=re.M)
    text = re.sub(r'(?<![\w.])(\d+\.\d+(?:e[+-]?\d+)?)(?![\w.])', r'\1f', text)
    text = re.sub(r'\((?!float|uint|int|bool)([A-Z]\w*)\)0\b', r'\1{}', text)
    text = text.replace('static const ', 'constexpr ')
    size = int(re.search(r'\[numthreads\((\d+)', text)[1])
    head = re.search(r'\[numthreads\([^)]*\)\]\s*void main\(([^)]*)\)\s*\{', text)
    lets = []
    for arg in head[1].split(','):
        m = re.match(r'\s*(\w+) (\w+) : (\w+)', arg)
        kind, name, semantic = m[1], m[2], m[3]
        value = {'SV_GroupIndex': 'threadIdx.x', 'SV_GroupID': 'uint3(blockIdx.x, blockIdx.y, blockIdx.z)'}[semantic]
        if name.startswith(('groups', 'nwg', 'num')):
            value = 'uint3(gridDim.x, gridDim.y, gridDim.z)'
        lets.append(f'    {kind} {name} = {value};')
    text = text.replace(head[0], f'extern "C" __global__ void __launch_bounds__({size}) kernel() {{\n' + '\n'.join(lets))
    # Functions: everything at the left margin that looks like one.
    text = re.sub(r'^(?!extern|typedef|__constant__|__shared__|constexpr|struct|#)([A-Za-z_]\w*) (\w+)\(([^;{]*?)\)(\s*)\{', r'__device__ __forceinline__ static \1 \2(\3)\4{', text, flags=re.M)
    return SHIM + text, size


class Compiler:
    """NVRTC and cuobjdump, from the wheels of the running interpreter."""

    def __init__(self):
        roots = glob.glob(os.path.join(sys.prefix, 'lib/python3*/site-packages/nvidia/cu*'))
        libraries = [path for root in roots for path in glob.glob(root + '/lib/libnvrtc.so*')]
        tools = {name: path for name in ('cuobjdump', 'nvdisasm') for root in roots for path in glob.glob(f'{root}/bin/{name}')}
        if not libraries or len(tools) < 2:
            print('NOT CHECKED: nvidia-cuda-nvrtc, nvidia-cuda-cuobjdump or nvidia-cuda-nvdisasm is not installed', file=sys.stderr)
            sys.exit(3)
        self.library, self.tool = ctypes.CDLL(libraries[0]), tools['cuobjdump']
        # cuobjdump calls it.
        os.environ['NVDISASM_PATH'] = os.path.dirname(tools['nvdisasm'])
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        self.version = f'{major.value}.{minor.value}'

    def compile(self, source, architecture):
        """The machine code of a text of CUDA C++."""
        lib, program, size = self.library, ctypes.c_void_p(), ctypes.c_size_t()
        lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b'kernel.cu', 0, None, None)
        options = [f'--gpu-architecture={architecture}'.encode(), b'--std=c++17', b'--fmad=true', b'-w']
        result = lib.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if result != 0:
            lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            lib.nvrtcGetProgramLog(program, log)
            raise ValueError(log.value.decode()[:1500])
        lib.nvrtcGetCUBINSize(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        lib.nvrtcGetCUBIN(program, code)
        lib.nvrtcDestroyProgram(ctypes.byref(program))
        return code.raw

    def read(self, code):
        """Registers, bytes of stack, bytes of shared memory, and the disassembly."""
        with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
            file.write(code)
            file.flush()
            dump = lambda what: subprocess.run([self.tool, what, file.name], capture_output=True, text=True, check=True).stdout
            usage, text = dump('--dump-resource-usage'), dump('--dump-sass')
        number = lambda key: int((re.search(rf'{key}:(\d+)', usage) or [0, 0])[1])
        return number('REG'), number('STACK'), number('SHARED'), text


def hottest(text):
    """The instructions of the innermost loop with the most multiply-adds, or of all of it: counts by kind."""
    code = [(int(m[1], 16), m[2].strip()) for m in re.finditer(r'/\*([0-9a-f]{4,})\*/\s+(.*?);', text)]
    index = {address: n for n, (address, _) in enumerate(code)}
    loops = []
    for n, (_, instruction) in enumerate(code):
        branch = re.search(r'BRA(?:\.\w+)*\s+(?:\S+,\s*)?`?\(?0x([0-9a-f]+)', instruction)
        if branch and index.get(int(branch[1], 16), n) < n:
            loops.append((index[int(branch[1], 16)], n))
    inner = [l for l in loops if not any(o != l and o[0] >= l[0] and o[1] <= l[1] for o in loops)]
    counts = [count(code[first:last + 1]) for first, last in inner]
    return max(counts, key=lambda c: (c['multiply_adds'], c['loads'], c['all']), default=count(code))


def count(code):
    """Instructions by kind."""
    c = dict(multiply_adds=0, loads=0, load_bytes=0, local=0, all=0)
    for _, instruction in code:
        op = re.sub(r'^@!?U?P\d+\s+', '', instruction).split()[0]
        if op.startswith('NOP'):
            continue
        c['all'] += 1
        if op.startswith('FFMA'):
            c['multiply_adds'] += 2 if op.startswith('FFMA2') else 1
        elif op.startswith(('LDG', 'LD.')):
            c['loads'] += 1
            c['load_bytes'] += 16 if '.128' in op else 8 if '.64' in op else 4
        elif op.startswith(('LDL', 'STL')):
            c['local'] += 1
    return c


# The columns of floors: whether more is better, and decimals. The useful share is reckoned on RADV's side.
COLUMNS = [('share', True, 2), ('useful', True, 2), ('bytes', False, 2), ('registers', False, 0), ('spilled', False, 0)]


def worse(rows):
    """The worst of each column."""
    columns = zip(*rows)
    pick = lambda more, values: (min if more else max)(values, default=None)
    return [pick(more, [v for v in column if v is not None]) for (_, more, _), column in zip(COLUMNS, columns)]


def rounded(row):
    """For the worse."""
    def one(value, more, decimals):
        if value is None:
            return None
        scaled = value * 10**decimals
        near = round(scaled)
        return (near if abs(scaled - near) < 1e-6 else math.floor(scaled) if more else math.ceil(scaled)) / 10**decimals
    return [one(value, more, decimals) for value, (_, more, decimals) in zip(row, COLUMNS)]


def shown(value, decimals):
    return '-' if value is None else f'{value:.{decimals}f}'


def read_floors(path):
    """Rows by architecture and group; none without a file."""
    rows = {}
    if os.path.exists(path):
        for line in open(path):
            words = line.split()
            if words and not line.startswith('#'):
                rows[words[0], words[1]] = [None if word == '-' else float(word) for word in words[2:]]
    return rows


def write_floors(path, rows):
    with open(path, 'w') as file:
        file.write('# What `scripts/offline-nvidia check` holds kernels to; docs/offline.md says what the numbers are. The file only gets\n'
                   '# better by `scripts/offline-nvidia record`; what must get worse is edited by hand.\n')
        before = None
        for (architecture, group), row in sorted(rows.items()):
            if architecture != before:
                heads = ''.join(f' {name:>11}' for name, _, _ in COLUMNS)
                file.write(f'\n# {"":<8}{"group":<28}{heads}\n')
                before = architecture
            numbers = ''.join(f' {shown(value, decimals):>11}' for value, (_, _, decimals) in zip(row, COLUMNS))
            file.write(f'{architecture:<10}{group:<28}{numbers}\n')


def main():
    folder, floors, *rest = sys.argv[1:]
    mode = rest.pop(0) if rest and rest[0] in ('show', 'check', 'record') else 'show'
    architectures = rest or ARCHITECTURES
    compiler = Compiler()
    path = os.path.join(floors, f'nvrtc-{compiler.version}.txt')
    if mode == 'check' and not os.path.exists(path):
        print(f'NOT CHECKED: there are no floors for NVRTC {compiler.version}', file=sys.stderr)
        return 3
    held, measured, failures = read_floors(path), {}, 0
    for architecture in architectures:
        if mode == 'show':
            print(f"{architecture:<36} {'size':>4} {'regs':>4} {'stack':>5} {'shared':>6} | "
                  f"{'FFMA':>5} {'all':>5} {'share':>5} {'loads':>5} {'B/FMA':>5} {'local':>5}")
        groups = {}
        for file in sorted(glob.glob(os.path.join(folder, '*.hlsl'))):
            name = os.path.basename(file).removesuffix('.hlsl')
            try:
                source, size = convert(open(file).read())
                registers, stack, shared, text = compiler.read(compiler.compile(source, architecture))
            except (ValueError, TypeError, KeyError) as error:
                failures += 1
                print(f'FAILED: {architecture} {name}: {error}')
                continue
            c = hottest(text)
            multiplies = c['multiply_adds'] >= MULTIPLYING
            share = c['multiply_adds'] / c['all'] if multiplies else None
            loaded = c['load_bytes'] / c['multiply_adds'] if multiplies else None
            group = name.rsplit('.', 1)[0]
            groups.setdefault(group, []).append([share, None, loaded, registers, stack])
            if mode == 'show':
                print(f"{name:<36} {size:>4} {registers:>4} {stack:>5} {shared:>6} | {c['multiply_adds']:>5} {c['all']:>5} "
                      f"{shown(share, 2):>5} {c['loads']:>5} {shown(loaded, 2):>5} {c['local']:>5}")
        measured.update({(architecture, group): rounded(worse(rows)) for group, rows in groups.items()})
    if mode == 'show':
        return int(failures > 0)
    # A text that several groups share is written once, in the first of them: a group may be without texts of its own.
    for key, row in sorted(measured.items()):
        old = held.setdefault(key, row) if mode == 'record' else held.get(key)
        if old is None:
            failures += 1
            print(f'FAILED: {key[0]} {key[1]}: there is no floor; scripts/offline-nvidia record makes one')
            continue
        for n, ((name, more, decimals), value, floor) in enumerate(zip(COLUMNS, row, old)):
            if (value is None) != (floor is None):
                if mode == 'record' and floor is None:
                    old[n] = value
                elif mode == 'check':
                    failures += 1
                    print(f'FAILED: {key[0]} {key[1]}: {name} {shown(value, decimals)}, the floor is {shown(floor, decimals)}')
            elif value is not None and value != floor:
                if (value > floor) == more:
                    if mode == 'record':
                        old[n] = value
                    else:
                        print(f'can be raised: {key[0]} {key[1]}: {name} {shown(value, decimals)}, '
                              f'the floor is {shown(floor, decimals)}')
                elif mode == 'check':
                    failures += 1
                    print(f'FAILED: {key[0]} {key[1]}: {name} {shown(value, decimals)}, allowed is {shown(floor, decimals)}')
    if mode == 'check':
        for key in sorted(key for key in held if key[0] in architectures and key not in measured):
            failures += 1
            print(f'FAILED: {key[0]} {key[1]}: not measured any more')
    else:
        write_floors(path, held)
        print(f'floors in {path}')
    print(f'{len(measured)} groups, {failures} failures')
    return int(failures > 0)


if __name__ == '__main__':
    sys.exit(main())
