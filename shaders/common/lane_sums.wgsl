// The sums of ${NAME} over ${LANES} neighbouring threads, for all of them, in a fixed order: in two steps of about the square root of
// that many values each, so that there are two barriers. A next call may follow at once: what it writes has been read by then.
fn ${NAME}(lid: u32, own: ${SUM}) -> ${SUM} {
#if ${LANES} == 1
    return own;
#else
    let lane = lid % ${LANES}u;
    let first = lid - lane;
#if ${PAIR}
    sums_a[lid] = own.x;
    sums_b[lid] = own.y;
#else
    sums_a[lid] = own;
#end
    workgroupBarrier();
    var sum = ${SUM}();
    for (var i = lane % ${STEP}u; i < ${LANES}u; i += ${STEP}u) {
#if ${PAIR}
        sum += ${SUM}(sums_a[first + i], sums_b[first + i]);
#else
        sum += sums_a[first + i];
#end
    }
    if (lane < ${STEP}u) {
#if ${PAIR}
        more_a[lid] = sum.x;
        more_b[lid] = sum.y;
#else
        more_a[lid] = sum;
#end
    }
    workgroupBarrier();
    sum = ${SUM}();
    for (var i = 0u; i < ${STEP}u; i += 1u) {
#if ${PAIR}
        sum += ${SUM}(more_a[first + i], more_b[first + i]);
#else
        sum += more_a[first + i];
#end
    }
    return sum;
#end
}
