        // Products of ${ROWS_ARE} and ${COLUMNS_ARE}, as ${S}{row}_{four of columns}.
#for u in 0..4
#for j in 0..${FOURS}
        var ${S}${u}_${j} = vec4<f32>();
#end
#end
        {
            var depth = 0u;
#for i in 0..${A_LOADS}
            var a${i} = vec4<f32>();
#end
#for i in 0..${B_LOADS}
            var c${i} = vec4<f32>();
#end
            loop {
                if (depth < ${WIDTH}) {
#for i in 0..${A_LOADS}
                    a${i} = four_of_${A}(${A_BASE} + min(first + lane / 4u + ${i}u * ${LINES}u, ${ROW_COUNT} - 1u) * ${A_STEP}, depth + 4u * (lane % 4u), ${WIDTH});
#end
#for i in 0..${B_LOADS}
                    c${i} = four_of_${B}(${B_BASE} + min(column + lane / 4u + ${i}u * ${LINES}u, ${COLUMN_COUNT} - 1u) * ${B_STEP}, depth + 4u * (lane % 4u), ${WIDTH});
#end
                }
                if (depth > 0u) {
#if ${SHORT}
                    for (var k = 0u; k < ${DEPTH}u; k++) {
#import attention_step K=k S=${S} N=${FOURS} FROM_A=0u FROM_B=SIDE_B PITCH_B=${COLUMNS}u+4u
                    }
#else
#for k in 0..${DEPTH}
                    {
#import attention_step K=${k}u S=${S} N=${FOURS} FROM_A=0u FROM_B=SIDE_B PITCH_B=${COLUMNS}u+4u
                    }
#end
#end
                }
                if (depth >= ${WIDTH}) {
                    break;
                }
                workgroupBarrier();
#for i in 0..${A_LOADS}
#for w in 0..4
                tile[(4u * (lane % 4u) + ${w}u) * PITCH + lane / 4u + ${i}u * ${LINES}u] = a${i}[${w}];
#end
#end
#for i in 0..${B_LOADS}
#for w in 0..4
                tile[SIDE_B + (4u * (lane % 4u) + ${w}u) * (${COLUMNS}u + 4u) + lane / 4u + ${i}u * ${LINES}u] = c${i}[${w}];
#end
#end
                workgroupBarrier();
                depth += ${DEPTH}u;
            }
        }
