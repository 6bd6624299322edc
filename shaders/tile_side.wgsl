#if ${PART} == at
    // The ${FROM} side of a tile: ${LINES} ${LINE_NAME} by ${BK} steps, read on path `${PATH}`.
    // Path `k` is vec4 along the inner dimension, `x` vec4 along lines; `s` and `t` are scalars along the same.
    // Lines past the edge are those at the edge.
    let ${S}_fast = lane % ${FAST}u;
    let ${S}_slow = ${SLOW};
#for i in 0..${LOADS}
#if ${PATH} == x
    var ${S}_at${i} = (${FROM}_base + (${START} + ${S}_slow + ${i}u * ${APART}u) * ${STEP} + min(${FIRST} + 4u * ${S}_fast, ${EDGE} - 4u)) >> 2u;
#end
#if ${PATH} == k
    var ${S}_at${i} = (${FROM}_base + min(${FIRST} + ${S}_slow + ${i}u * ${APART}u, ${EDGE} - 1u) * ${LINE} + ${START} + 4u * ${S}_fast) >> 2u;
#end
#if ${PATH} == s
    var ${S}_at${i} = ${FROM}_base + min(${FIRST} + ${S}_slow + ${i}u * ${APART}u, ${EDGE} - 1u) * ${LINE} + (${START} + ${S}_fast) * ${STEP};
#end
#if ${PATH} == t
    var ${S}_at${i} = ${FROM}_base + (${START} + ${S}_slow + ${i}u * ${APART}u) * ${STEP} + min(${FIRST} + ${S}_fast, ${EDGE} - 1u) * ${LINE};
#end
    var ${S}${i} = ${TYPE}();
#end
#if ${SUMS}
    var ${S}_sum = ${TYPE}();
#end
#end
#if ${PART} == load
#for i in 0..${LOADS}
#if ${JUMPS}
            ${S}${i} = ${FROM}[${S}_at${i} + ${S}_jump];
#else
            ${S}${i} = ${FROM}[${S}_at${i}];
            ${S}_at${i} += ${MOVE};
#end
#if ${SUMS}
            ${S}_sum += ${S}${i};
#end
#end
#end
#if ${PART} == rest
#for i in 0..${LOADS}
        ${S}${i} = ${FROM}[select(0u, ${S}_at${i}, ${K_OF} + ${i}u * ${K_APART}u < left)];
#if ${SUMS}
        ${S}_sum += select(${TYPE}(), ${S}${i}, ${K_OF} + ${i}u * ${K_APART}u < left);
#end
#end
#end
#if ${PART} == sums
    // The sums over the inner dimension of the tile's ${LINE_NAME}, each in ${SLOWS} parts of threads that load the same ones.
    workgroupBarrier();
#if ${SOME} != 0
    if (lane < ${SOME}u) {
#end
#if ${PATH} == x
#for u in 0..4
    tile_${S}[${S}_slow * ${LINES}u + 4u * ${S}_fast + ${u}u] = ${S}_sum[${u}];
#end
#end
#if ${PATH} == t
    tile_${S}[${S}_slow * ${LINES}u + ${S}_fast] = ${S}_sum;
#end
#if ${SOME} != 0
    }
#end
    workgroupBarrier();
    for (var line = lane; line < ${LINES}u; line += ${THREADS}u) {
        var sum = 0.0;
        for (var part = 0u; part < ${SLOWS}u; part++) {
            sum += tile_${S}[part * ${LINES}u + line];
        }
        if (index < count && ${OTHER} == 0u && ${FIRST} + line < ${EDGE}) {
            sums[split * ${EDGE} + ${FIRST} + line] = sum;
        }
    }
#end
#if ${PART} == store
#if ${SOME} != 0
        if (lane < ${SOME}u) {
#end
#for i in 0..${LOADS}
#if ${PATH} == x
#for u in 0..4
        tile_${S}[(${S}_slow + ${i}u * ${APART}u) * (${LINES}u + 4u) + 4u * ${S}_fast + ${u}u] = ${S}${i}[${u}];
#end
#end
#if ${PATH} == k
#for u in 0..4
        tile_${S}[(4u * ${S}_fast + ${u}u) * (${LINES}u + 4u) + ${S}_slow + ${i}u * ${APART}u] = ${S}${i}[${u}];
#end
#end
#if ${PATH} == s
        tile_${S}[${S}_fast * (${LINES}u + 4u) + ${S}_slow + ${i}u * ${APART}u] = ${S}${i};
#end
#if ${PATH} == t
        tile_${S}[(${S}_slow + ${i}u * ${APART}u) * (${LINES}u + 4u) + ${S}_fast] = ${S}${i};
#end
#end
#if ${SOME} != 0
        }
#end
#end
