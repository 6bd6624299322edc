        // The sums of a thread's row r, as v{four of columns}. A switch keeps them in registers; FXC miscompiles those in loops.
#for j in 0..${TN4}
        var v${j} = c00_${j};
#end
#if ${SHORT}
#for i in 0..${TM4}
#for u in 0..4
#for j in 0..${TN4}
        v${j} = select(v${j}, c${i}${u}_${j}, r == 4u * ${i}u + ${u}u);
#end
#end
#end
#else
        switch r {
#for i in 0..${TM4}
#for u in 0..4
            case 4u * ${i}u + ${u}u: {
#for j in 0..${TN4}
                v${j} = c${i}${u}_${j};
#end
            }
#end
#end
            default: {}
        }
#end
