# Steps of scripts/test and scripts/sweep, sourced by both: they count tests, time, processor time and memory.

MAX_TEST_GIB=4

passed=0
failed=0
report=()
log="$(mktemp)"
scratch="$(mktemp -d)"
trap 'rm -rf "$log" "$scratch"' EXIT

heading() { printf '\n== %s\n' "$*"; }

# Sets `used` to the processor time of this script and its children so far, in seconds.
processor() {
    local user system _
    times >"$scratch/times"
    used=$(awk '{ for (i = 1; i <= NF; i++) { split($i, t, /[ms]/); sum += t[1] * 60 + t[2] } } END { printf "%d", sum }' "$scratch/times")
}

begin() {
    processor
    began_at="$SECONDS"
    began_used="$used"
}

# Sets `took` to the time since `begin`.
end() {
    processor
    took="$(duration $((SECONDS - began_at))), $(duration $((used - began_used))) of processor time"
}

duration() { printf '%d min %d s' $(($1 / 60)) $(($1 % 60)); }

# check NAME COMMAND...: runs a step that counts as one test.
check() {
    local name="$1"
    shift
    heading "$name"
    begin
    if "$@"; then
        passed=$((passed + 1))
        end
        echo "passed in $took"
        report+=("$name: $took")
    else
        failed=$((failed + 1))
        report+=("FAILED: $name")
    fi
}

# tests WHERE COMMAND...: runs cargo test and counts its tests one by one. A test process that takes more memory than allowed
# is a failure.
tests() {
    local where="$1" rc
    shift
    heading "tests on $where: $*"
    begin
    : >"$scratch/peaks"
    WGRAD_PEAKS="$scratch/peaks" "$@" 2>&1 | tee "$log"
    rc=${PIPESTATUS[0]}
    end
    count_tests "$where" "$rc" "$log" "$scratch/peaks"
}

# What runs beside the steps, if anything does.
aside=

# beside WHERE COMMAND...: begins cargo test next to the steps that follow, one at a time: for what leaves a core idle. `joined`
# waits for it, shows what it printed, and counts its tests; its processor time is part of the total alone.
beside() {
    aside_where="$1"
    shift
    aside_command="$*"
    : >"$scratch/peaks aside"
    (
        SECONDS=0
        WGRAD_PEAKS="$scratch/peaks aside" "$@" >"$scratch/log aside" 2>&1
        echo "$? $SECONDS" >"$scratch/ended aside"
    ) &
    aside=$!
}

joined() {
    local rc seconds
    wait "$aside"
    heading "tests on $aside_where, beside the above: $aside_command"
    cat "$scratch/log aside"
    read -r rc seconds <"$scratch/ended aside"
    took="$(duration "$seconds") beside the above"
    count_tests "$aside_where" "$rc" "$scratch/log aside" "$scratch/peaks aside"
    aside=
}

# count_tests WHERE CODE LOG PEAKS: counts what a run of cargo test printed, and adds it to the report. Sets `result`.
count_tests() {
    local where="$1" rc="$2" log="$3" peaks="$4" ok bad skipped apart peak
    count() { sed $'s/\033\\[[0-9;]*m//g' "$log" | awk -v at="$1" '/^test result:/ { n += $at } END { print n + 0 }'; }
    ok=$(count 4) bad=$(count 6) skipped=$(count 8) apart=$(count 12)
    # A crash or a build error leaves no result line, and a run without tests proves nothing.
    if { [ "$rc" -ne 0 ] && [ "$bad" -eq 0 ]; } || [ $((ok + bad)) -eq 0 ]; then
        bad=$((bad + 1))
    fi
    peak=$(awk '$1 > most { most = $1 } END { if (most) printf "%.1f", most / 1048576 }' "$peaks")
    if [ -n "$peak" ] && awk -v peak="$peak" -v most="$MAX_TEST_GIB" 'BEGIN { exit !(peak > most) }'; then
        bad=$((bad + 1))
        report+=("FAILED: a test process on $where took $peak GiB, more than $MAX_TEST_GIB")
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    result="$ok passed, $bad failed, $skipped skipped, $apart left to other passes, $took, ${peak:+at most $peak GiB}"
    [ -n "$peak" ] || result+="memory not measured"
    report+=("$where: $result")
    while read -r line; do report+=("    $line"); done < <(grep '^EXCEPTION' "$log" | sort -u)
}

# Test binaries run under scripts/peak, which notes their memory.
run_under_peak() {
    local host
    host="$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')"
    export "CARGO_TARGET_${host}_RUNNER=$PWD/scripts/peak"
}

summary() {
    processor
    heading "summary"
    printf '%s\n' "${report[@]}"
    echo "total: $(duration "$SECONDS"), $(duration "$used") of processor time"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
