            for (var kk = 0u; kk < ${STEPS}; kk++) {
            let row_a = kk * (${BM}u + 4u) + 4u * four.x;
            let row_b = kk * (${BN}u + 4u) + 4u * four.y;
#import tile_line k=0
            }
