// (maximum, Σ e^(x - maximum)) of units `begin` to `end` of the row whose unit `first` of x is the first, read once by ${LANES}
// threads: where a thread's maximum rises, its sum so far is scaled down. `lowest` is -∞.
fn scan(first: u32, begin: u32, end: u32, id: u32, lowest: f32) -> vec2<f32> {
    var top = lowest;
    var sum = 0.0;
    var u = begin + id % ${LANES}u;
    for (; u + ${LAST}u * ${LANES}u < end; u += ${LANES}u * ${EACH}u) {
#for j in 0..${EACH}
        let v${j} = x[first + u + ${j}u * ${LANES}u];
#end
        let was = top;
#for j in 0..${EACH}
        top = max(top, most(v${j}));
#end
        sum = rescaled(sum, was, top);
#for j in 0..${EACH}
        sum += total(exps(v${j}, top));
#end
    }
#if ${EACH} != 1
    for (; u < end; u += ${LANES}u) {
        let v = x[first + u];
        let was = top;
        top = max(top, most(v));
        sum = rescaled(sum, was, top) + total(exps(v, top));
    }
#end
    let all = combine_max(id, top);
    return vec2<f32>(all, combine_sum(id, rescaled(sum, top, all)));
}
