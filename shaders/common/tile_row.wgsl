        // The sums of a thread's row r, as v{four of columns}. A switch keeps them in registers.
#for j in 0..${TN4}
        var v${j} = c00_${j};
#end
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
