
fn total(v: ${TYPE}) -> f32 {
#if ${WIDTH} == 4
    return (v.x + v.y) + (v.z + v.w);
#else
    return v;
#end
}
