#for i in 0..${TM4}
#for u in 0..4
#for j in 0..${TN4}
    var c${i}${u}_${j} = vec4<f32>();
#end
#end
#end
