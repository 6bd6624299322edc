    let count = params[2][0];
    let all_heads = params[0][0] * heads;
    // The workgroup's index as (tile of queries, example, head); late queries, which see most, first.
    let index = linear_workgroup(wid, groups);
    let here = index < count;
    let z = min(index, count - 1u) % all_heads;
    let first = ((queries - 1u) / 64u - min(index, count - 1u) / all_heads) * 64u;
    let example = z / heads;
    let head = z % heads;
    let key_head = head / group;
    let q_base = params[3][3] + example * params[3][0] + head * params[3][1];
    let k_base = params[4][3] + example * params[4][0] + key_head * params[4][1];
    let v_base = params[5][3] + example * params[5][0] + key_head * params[5][1];
#if ${MASK} != none
    let mask_base = params[8][0] + example * params[7][0] + head * params[7][1];
#end
    let four = four_of(lane);
    let row = first + 4u * four.x;
