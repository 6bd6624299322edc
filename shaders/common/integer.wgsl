// Integer arithmetic with every case defined: division by zero gives 0, and the remainder has the divisor's sign.

// Without branches: a driver that runs several threads as one vector pays for each branch, above all when compiling.

fn div_i32(a: i32, b: i32) -> i32 {
    // The most negative number has no counterpart: negate with wrap-around instead of dividing by -1.
    let special = b == 0 || b == -1;
    let quotient = a / select(b, 1, special);
    return select(quotient, select(0, bitcast<i32>(0u - bitcast<u32>(a)), b == -1), special);
}

fn div_u32(a: u32, b: u32) -> u32 {
    return select(a / max(b, 1u), 0u, b == 0u);
}

fn rem_i32(a: i32, b: i32) -> i32 {
    let special = b == 0 || b == -1;
    let r = a % select(b, 1, special);
    return select(select(r, r + b, r != 0 && ((r < 0) != (b < 0))), 0, special);
}

fn rem_u32(a: u32, b: u32) -> u32 {
    return select(a % max(b, 1u), 0u, b == 0u);
}

fn pow_u32(a: u32, b: u32) -> u32 {
    var n = b;
    var base = a;
    var product = 1u;
    while (n > 0u) {
        if ((n & 1u) == 1u) {
            product *= base;
        }
        base *= base;
        n >>= 1u;
    }
    return product;
}

// A negative exponent gives the truncated reciprocal.
fn pow_i32(a: i32, b: i32) -> i32 {
    if (b >= 0) {
        return bitcast<i32>(pow_u32(bitcast<u32>(a), u32(b)));
    }
    if (a == 1 || (a == -1 && (b & 1) == 0)) {
        return 1;
    }
    return select(0, -1, a == -1);
}
