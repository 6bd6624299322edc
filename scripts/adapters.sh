# Adapters for GPU tests, and software drivers for machines that have none. Sourced by scripts/test and scripts/sweep.

# The kinds of the devices, one per line, with their names: "software<TAB>llvmpipe ...".
devices() {
    cargo run -q --color never --example devices | awk -F'  +' '
        $1 == "kind" { for (i = 2; i <= NF; i++) kind[i] = $i }
        $1 == "name" { for (i = 2; i <= NF; i++) print kind[i] "\t" $i }'
}

# Whether this is Debian, whose chromium package contains SwiftShader; Ubuntu's points to a snap.
on_debian() {
    [ -r /etc/os-release ] && (. /etc/os-release && [ "${ID:-}" = debian ])
}

# apt_install PACKAGE...: installs with Debian's or Ubuntu's package manager, as root or with sudo.
apt_install() {
    command -v apt-get >/dev/null || return 1
    local as="env"
    [ "$(id -u)" -eq 0 ] || as="sudo -n env"
    # shellcheck disable=SC2086 # The words of a command.
    $as DEBIAN_FRONTEND=noninteractive apt-get update -q &&
        $as DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" && return 0
    echo "the installation failed" >&2
    return 1
}

install_software_adapter() {
    echo "no adapter was found; installing a software one: libvulkan1 mesa-vulkan-drivers"
    apt_install libvulkan1 mesa-vulkan-drivers && return 0
    cat >&2 <<'HELP'
Install a Vulkan driver, then run scripts/test again:
    Debian, Ubuntu   apt-get install libvulkan1 mesa-vulkan-drivers
    Fedora           dnf install vulkan-loader mesa-vulkan-drivers
    Arch             pacman -S vulkan-icd-loader vulkan-swrast
    Alpine           apk add vulkan-loader mesa-vulkan-swrast
    openSUSE         zypper install libvulkan1 Mesa-vulkan-device-select libvulkan_lvp
    macOS, Windows   nothing: Metal and DX12 are part of the system
HELP
    return 1
}

# Sets `icd` to SwiftShader's driver file; installs SwiftShader if necessary.
find_swiftshader() {
    if [ -n "${WGRAD_SWIFTSHADER_ICD:-}" ]; then
        icd="$WGRAD_SWIFTSHADER_ICD"
        [ -f "$icd" ] && return 0
        echo "WGRAD_SWIFTSHADER_ICD=$icd: there is no such file" >&2
        return 1
    fi
    icd=/usr/lib/chromium/vk_swiftshader_icd.json
    [ -f "$icd" ] && return 0
    on_debian || return 1
    echo "SwiftShader was not found; installing it: chromium"
    apt_install chromium && [ -f "$icd" ]
}

# Sets `chromium` to a browser whose WebGPU runs on SwiftShader, which it brings along: Chromium or Chrome; installs it if necessary.
find_chromium() {
    local name
    for name in "${WGRAD_CHROMIUM:-chromium}" chromium-browser google-chrome; do
        chromium="$(command -v "$name")" && return 0
        [ -z "${WGRAD_CHROMIUM:-}" ] || break
    done
    [ -z "${WGRAD_CHROMIUM:-}" ] && on_debian || return 1
    echo "Chromium was not found; installing it: chromium"
    apt_install chromium && chromium="$(command -v chromium)"
}

# Sets `clang` to the compiler that stands in for Metal's; installs it if necessary.
find_clang() {
    clang="${WGRAD_CLANG:-clang}"
    command -v "$clang" >/dev/null && return 0
    [ -z "${WGRAD_CLANG:-}" ] && on_debian || return 1
    echo "clang was not found; installing it"
    apt_install clang && command -v clang >/dev/null
}

# Sets `swiftshader` to the name of the second adapter, and `icd` to its driver's file.
second_adapter() {
    find_swiftshader || return 1
    swiftshader="$(VK_DRIVER_FILES="$icd" devices | awk -F'\t' '$1 == "software" && tolower($2) ~ /swiftshader/ { print $2; exit }')"
    [ -n "$swiftshader" ] && return 0
    echo "$icd: no adapter of this driver can be opened" >&2
    return 1
}
