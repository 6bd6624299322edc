# Other platforms, built on this machine and run where something here can run them. Sourced by scripts/sweep.
#
# It needs rustup, and Debian or Ubuntu for compilers and emulators, which it installs. It builds into target/platforms.

built="$PWD/target/platforms"
# Tests that call cargo or the compiler: they would call this machine's.
not_elsewhere=(--skip api:: --skip manifest:: --skip training::mistakes::)
# Tests of the host, which one device runs for all.
host_alone=()
for test in bits columns damage depth english environment files floors host_indices huge huge_parts logging mutations names no_grad \
    pages pieces saves sounds state state_numbers table threads; do
    host_alone+=(--skip "$test::")
done

# Sets up a platform's standard library and PACKAGE...: those that are not there yet.
platform_needs() {
    local target="$1" package missing=()
    shift
    command -v rustup >/dev/null || { echo "rustup is missing: https://rustup.rs" >&2; return 1; }
    rustup -q target add "$target" || return 1
    for package in "$@"; do
        dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q '^install ok' || missing+=("$package")
    done
    [ "${#missing[@]}" -eq 0 ] || apt_install "${missing[@]}"
}

# on_platform TARGET SUBCOMMAND ARGUMENT...: cargo for another platform.
on_platform() {
    local target="$1" subcommand="$2"
    shift 2
    # Nobody debugs these programs, and without debug information they build faster.
    CARGO_TARGET_DIR="$built" CARGO_PROFILE_DEV_DEBUG=false CARGO_INCREMENTAL=0 cargo "$subcommand" --target "$target" "$@"
}

# compiles TARGET: everything type-checks and is clean for clippy, with all features and without default ones.
compiles() {
    on_platform "$1" clippy -q --all-targets --all-features -- -D warnings &&
        on_platform "$1" clippy -q --no-default-features --lib --examples -- -D warnings
}

# test_program TARGET ARGUMENT...: builds tests, and prints their program's path.
test_program() {
    local target="$1"
    shift
    on_platform "$target" test --no-run --color never "$@" 2>&1 | tee "$log" >&2
    sed -n 's/^ *Executable .*(\(.*\))$/\1/p' "$log" | tail -n 1
}

# compile_row TARGET
compile_row() {
    local before="$failed"
    check "$1: clippy, all features and targets" compiles "$1"
    [ "$failed" -eq "$before" ] || return 0
    result="0 warnings of the compiler and of clippy, all features and all targets, $took"
    record "platforms: $1" "clippy" "this machine"
}

# program_row TARGET WHERE NAME PROGRAM COMMAND...: runs a test program, and records it unless a test fails.
program_row() {
    local target="$1" where="$2" name="$3" program="$4" before="$failed"
    shift 4
    if [ ! -f "$program" ]; then
        echo "the tests of $target do not build" >&2
        return 1
    fi
    tests "$target, $where" "$@"
    [ "$failed" -gt "$before" ] || record "platforms: $target" "$where" "$name"
}

# Rust's standard library takes random numbers from a library that Wine 8 lacks: a stand-in that passes them on.
bcryptprimitives() {
    local source="$scratch/bcryptprimitives.c"
    cat >"$source" <<'C'
#include <windows.h>
BOOLEAN WINAPI SystemFunction036(void *, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(unsigned char *bytes, SIZE_T count) { return SystemFunction036(bytes, (ULONG)count); }
C
    x86_64-w64-mingw32-gcc -shared -O1 -o "$1/bcryptprimitives.dll" "$source" -ladvapi32
}

# Windows, by mingw and Wine: both programs on the CPU device, and a part of the integration tests on the software adapter through
# Wine's Vulkan, which needs an X server.
windows() {
    local target=x86_64-pc-windows-gnu it lib version wine=wine
    platform_needs "$target" gcc-mingw-w64-x86-64 wine wine64 xvfb xauth libvulkan1 mesa-vulkan-drivers || return 1
    compile_row "$target"
    it="$(test_program "$target" --test it)"
    lib="$(test_program "$target" --lib)"
    [ -f "$it" ] && bcryptprimitives "$(dirname "$it")" || return 1
    version="$($wine --version 2>/dev/null | sed 's/^wine-/Wine /')"
    export WINEDEBUG=-all WINEPREFIX="$built/wine" WINEARCH=win64 LC_ALL=C.UTF-8
    # Wine lists a GPU for DX12 that it makes up, and that does not open.
    export WGPU_BACKEND=vulkan
    mkdir -p "$WINEPREFIX"
    program_row "$target" "cpu" "$version" "$it" env WGRAD_TEST_DEVICE=cpu xvfb-run -a "$wine" "$it" "${not_elsewhere[@]}"
    program_row "$target" "unit tests" "$version" "$lib" xvfb-run -a "$wine" "$lib"
    program_row "$target" "software, a part" "$version, winevulkan" "$it" env WGRAD_TEST_DEVICE=software WGRAD_TEST_PART=sample \
        xvfb-run -a "$wine" "$it" "${not_elsewhere[@]}" "${host_alone[@]}"
    unset WINEDEBUG WINEPREFIX WINEARCH LC_ALL WGPU_BACKEND
}

# 64-bit ARM, by QEMU.
arm() {
    local target=aarch64-unknown-linux-gnu it version run
    platform_needs "$target" gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user || return 1
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    compile_row "$target"
    it="$(test_program "$target" --test it)"
    version="$(qemu-aarch64 --version | sed -n '1s/^qemu-aarch64 version \([0-9.]*\).*/QEMU \1/p')"
    run=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
    program_row "$target" cpu "$version" "$it" env WGRAD_TEST_DEVICE=cpu WGRAD_TEST_RUNNER="${run[*]}" "${run[@]}" "$it" \
        "${not_elsewhere[@]}" --skip limits::too_little
}

# macOS, which nothing here links or runs.
macos() {
    platform_needs aarch64-apple-darwin || return 1
    compile_row aarch64-apple-darwin
}

# Sizes of 32 bits: what does not fit is an error there, and not another size. The processor runs such programs itself.
narrow() {
    local target=i686-unknown-linux-gnu root=/usr/i686-linux-gnu/lib it
    platform_needs "$target" gcc-i686-linux-gnu libc6-dev-i386-cross || return 1
    export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER=i686-linux-gnu-gcc
    export CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_RUSTFLAGS="-Clink-arg=-Wl,--dynamic-linker=$root/ld-linux.so.2,-rpath,$root"
    compile_row "$target"
    it="$(test_program "$target" --test it)"
    program_row "$target" cpu "this machine" "$it" env WGRAD_TEST_DEVICE=cpu "$it" "${not_elsewhere[@]}"
}

# This machine's program as a processor with narrower vectors runs it.
haswell() {
    local it version
    platform_needs x86_64-unknown-linux-gnu qemu-user || return 1
    it="$(test_program x86_64-unknown-linux-gnu --test it)"
    version="$(qemu-x86_64 --version | sed -n '1s/^qemu-x86_64 version \([0-9.]*\).*/QEMU \1/p')"
    program_row "x86_64-unknown-linux-gnu without AVX-512" "bits" "$version" "$it" qemu-x86_64 -cpu Haswell "$it" bits::the_bits
}
