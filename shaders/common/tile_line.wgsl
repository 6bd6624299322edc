            // Adds step ${k} from the start of these rows to the sums c{row}_{four of columns}.
#for i in 0..${TM4}
            let a${k}_${i} = four_of_a(row_a + ${k}u * (${BM}u + 4u) + ${i}u * 4u * ${TY}u);
#end
#for j in 0..${TN4}
            let b${k}_${j} = four_of_b(row_b + ${k}u * (${BN}u + 4u) + ${j}u * 4u * ${TX}u);
#end
#for i in 0..${TM4}
#for u in 0..4
#for j in 0..${TN4}
            c${i}${u}_${j} = fma(vec4<f32>(a${k}_${i}[${u}]), b${k}_${j}, c${i}${u}_${j});
#end
#end
#end
