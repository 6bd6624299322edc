                        let p = four_at(${FROM_A} + ${K} * PITCH + 4u * four.x);
#for j in 0..${N}
                        let q${j} = four_at(${FROM_B} + ${K} * (${PITCH_B}) + 4u * four.y + ${j}u * 4u * ${TX}u);
#end
#for u in 0..4
#for j in 0..${N}
                        ${S}${u}_${j} = fma(vec4<f32>(p[${u}]), q${j}, ${S}${u}_${j});
#end
#end
