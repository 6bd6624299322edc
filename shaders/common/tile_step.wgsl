            // The ${BK} steps that the tile holds.
#if ${SHORT}
#import tile_loop STEPS=${BK}u
#else
            let row_a = 4u * four.x;
            let row_b = 4u * four.y;
#for k in 0..${BK}
#import tile_line
#end
#end
