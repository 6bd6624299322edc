        // Adds the products of the weights ${S} and the rows of ${B} to ${O}{row}_{four of elements}.
        {
            let end = min(${COLUMNS}u, ${COLUMN_COUNT} - column);
            var step = 0u;
#for i in 0..${V_LOADS}
            var v${i} = vec4<f32>();
#end
            loop {
                if (step < end) {
#for i in 0..${V_LOADS}
                    {
                        let line = column + step + (lane + ${i}u * ${LANES}u) / ${V_FOURS}u;
                        let four_here = four_of_${B}(${B_BASE} + min(line, ${COLUMN_COUNT} - 1u) * ${B_STEP}, 4u * ((lane + ${i}u * ${LANES}u) % ${V_FOURS}u), ${WIDTH});
                        v${i} = select(vec4<f32>(), four_here, vec4<bool>(line < ${COLUMN_COUNT}));
                    }
#end
                }
                if (step > 0u) {
                    let weights_at = (step - ${STEPS}u) % 32u * PITCH;
#if ${SHORT}
                    for (var k = 0u; k < ${STEPS}u; k++) {
#import attention_step K=k S=${O} N=${N} FROM_A=weights_at FROM_B=SIDE_V PITCH_B=${V_WIDTH}u+4u
                    }
#else
#for k in 0..${STEPS}
                    {
#import attention_step K=${k}u S=${O} N=${N} FROM_A=weights_at FROM_B=SIDE_V PITCH_B=${V_WIDTH}u+4u
                    }
#end
#end
                }
                if (step >= end) {
                    break;
                }
                workgroupBarrier();
                if (step % 32u == 0u) {
#for j in 0..${FOURS}
                    if ((four.y + ${j}u * ${TX}u) / 8u == step / 32u) {
#for w in 0..4
#for u in 0..4
                        tile[(4u * (four.y % 8u) + ${w}u) * PITCH + 4u * four.x + ${u}u] = ${S}${u}_${j}[${w}];
#end
#end
                    }
#end
                }
#for i in 0..${V_LOADS}
                {
                    let line = (lane + ${i}u * ${LANES}u) / ${V_FOURS}u;
#if ${V_SOME}
                    if (line < ${STEPS}u) {
#end
#for w in 0..4
                    tile[SIDE_V + line * (${V_WIDTH}u + 4u) + 4u * ((lane + ${i}u * ${LANES}u) % ${V_FOURS}u) + ${w}u] = v${i}[${w}];
#end
#if ${V_SOME}
                    }
#end
                }
#end
                workgroupBarrier();
                step += ${STEPS}u;
            }
        }
