// What naga's Metal texts need of Metal's standard library, for clang as a compiler of C++17. FAST_MATH_QUOTIENTS makes quotients
// and square roots as wrong as WGSL allows: 1 too large, 2 too small, 3 now one and now the other.
#pragma once

#define kernel
#define device
#define constant const
#define threadgroup
#define thread

namespace metal {

using uint = unsigned;
template <class T, int N> using vec = T __attribute__((ext_vector_type(N)));
using float2 = vec<float, 2>;
using float3 = vec<float, 3>;
using float4 = vec<float, 4>;
using int2 = vec<int, 2>;
using int3 = vec<int, 3>;
using int4 = vec<int, 4>;
using uint2 = vec<uint, 2>;
using uint3 = vec<uint, 3>;
using uint4 = vec<uint, 4>;
// Comparisons of vectors give 0 and -1.
using bool2 = int2;
using bool3 = int3;
using bool4 = int4;

template <class T, int N> vec<T, N> splat(T x) {
    vec<T, N> v;
    for (int i = 0; i < N; i++)
        v[i] = x;
    return v;
}

// `metal::float4(...)` is `metal::make_float4(...)` here.
#define MAKE(T)                                                                                                                       \
    inline T##2 make_##T##2(T x) { return splat<T, 2>(x); }                                                                           \
    inline T##2 make_##T##2(T x, T y) { return T##2{x, y}; }                                                                          \
    inline T##3 make_##T##3(T x) { return splat<T, 3>(x); }                                                                           \
    inline T##3 make_##T##3(T x, T y, T z) { return T##3{x, y, z}; }                                                                  \
    inline T##4 make_##T##4(T x) { return splat<T, 4>(x); }                                                                           \
    inline T##4 make_##T##4(T x, T y, T z, T w) { return T##4{x, y, z, w}; }                                                          \
    inline T##3 make_##T##3(T##2 a, T z) { return T##3{a.x, a.y, z}; }                                                                \
    inline T##4 make_##T##4(T##2 a, T z, T w) { return T##4{a.x, a.y, z, w}; }                                                        \
    inline T##4 make_##T##4(T##3 a, T w) { return T##4{a.x, a.y, a.z, w}; }                                                           \
    inline T##4 make_##T##4(T##2 a, T##2 b) { return T##4{a.x, a.y, b.x, b.y}; }                                                      \
    template <class U> T##4 make_##T##4(vec<U, 4> v) { return T##4{(T)v.x, (T)v.y, (T)v.z, (T)v.w}; }
MAKE(float)
MAKE(int)
MAKE(uint)
#undef MAKE

template <class To, class From> To as_type(From x) { return __builtin_bit_cast(To, x); }

#define MAP1(f)                                                                                                                       \
    template <class T, int N> vec<T, N> f(vec<T, N> x) {                                                                              \
        vec<T, N> r;                                                                                                                  \
        for (int i = 0; i < N; i++)                                                                                                   \
            r[i] = f((T)x[i]);                                                                                                        \
        return r;                                                                                                                     \
    }
#define MAP2(f)                                                                                                                       \
    template <class T, int N> vec<T, N> f(vec<T, N> x, vec<T, N> y) {                                                                 \
        vec<T, N> r;                                                                                                                  \
        for (int i = 0; i < N; i++)                                                                                                   \
            r[i] = f((T)x[i], (T)y[i]);                                                                                               \
        return r;                                                                                                                     \
    }

inline float abs(float x) { return __builtin_fabsf(x); }
inline int abs(int x) { return x < 0 ? -x : x; }
inline float floor(float x) { return __builtin_floorf(x); }
inline float ceil(float x) { return __builtin_ceilf(x); }
inline float trunc(float x) { return __builtin_truncf(x); }
inline float rint(float x) { return __builtin_rintf(x); }
inline float exp(float x) { return __builtin_expf(x); }
inline float log(float x) { return __builtin_logf(x); }
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float min(float a, float b) { return __builtin_fminf(a, b); }
inline float max(float a, float b) { return __builtin_fmaxf(a, b); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline uint min(uint a, uint b) { return a < b ? a : b; }
inline uint max(uint a, uint b) { return a > b ? a : b; }
inline float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f; }
inline uint clz(uint x) { return x ? (uint)__builtin_clz(x) : 32; }
template <class T> T clamp(T x, T low, T high) { return min(max(x, low), high); }
MAP1(abs)
MAP1(floor)
MAP1(ceil)
MAP1(trunc)
MAP1(rint)
MAP1(sign)
MAP2(min)
MAP2(max)

template <class T> T select(T no, T yes, bool which) { return which ? yes : no; }
template <class T, int N> vec<T, N> select(vec<T, N> no, vec<T, N> yes, vec<int, N> which) {
    vec<T, N> r;
    for (int i = 0; i < N; i++)
        r[i] = which[i] ? yes[i] : no[i];
    return r;
}
template <int N> float dot(vec<float, N> a, vec<float, N> b) {
    float sum = 0;
    for (int i = 0; i < N; i++)
        sum += a[i] * b[i];
    return sum;
}
inline bool all(bool x) { return x; }
template <int N> bool all(vec<int, N> v) {
    bool r = true;
    for (int i = 0; i < N; i++)
        r = r && v[i];
    return r;
}
template <int N> bool any(vec<int, N> v) {
    bool r = false;
    for (int i = 0; i < N; i++)
        r = r || v[i];
    return r;
}

// Moves a normal result by so many of its neighbours at most.
inline float moved(float x, int most) {
#ifdef FAST_MATH_QUOTIENTS
    uint bits = as_type<uint>(x);
    uint exponent = (bits >> 23) & 255;
    if (exponent <= 1 || exponent >= 253)
        return x;
    uint random = bits * 2654435761u;
    int by = FAST_MATH_QUOTIENTS == 1 ? most : FAST_MATH_QUOTIENTS == 2 ? -most : (int)((random >> 16) % (2 * most + 1)) - most;
    return as_type<float>(bits + (uint)by);
#else
    return x;
#endif
}
// WGSL: 2.5 ULP for quotients, 2 for 1/sqrt, and a root is one divided by that. What is rounded correctly is half an ULP off already.
inline float sqrt(float x) { return moved(__builtin_sqrtf(x), 4); }
// Quotients of floats come as powers: C++ cannot redefine a division.
inline float pow(float a, float b) { return moved(a / b, 2); }
MAP1(sqrt)
MAP2(pow)

enum class mem_flags { mem_none, mem_device, mem_threadgroup };
extern "C" void fast_math_barrier(void);
inline void threadgroup_barrier(mem_flags) { fast_math_barrier(); }

}  // namespace metal

using metal::as_type;

// A binding of any type.
struct Binding {
    void* at;
    template <class T> operator T&() const { return *(T*)at; }
};
