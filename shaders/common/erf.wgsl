// Gauss error function to about 1e-7: a polynomial in x^2 up to 1, then 1 - e^(-x^2) q(1 / (1 + x/2)).

fn erf_f32(x: f32) -> f32 {
    let a = min(abs(x), 4.2);
    let z = a * a;
    let near = a * (1.12837917 + z * (-0.376126267 + z * (0.112835947 + z * (-0.026854212
        + z * (5.18908709e-3 + z * (-8.01686428e-4 + z * 7.87587505e-5))))));
    let t = 1.0 / (1.0 + 0.5 * a);
    let q = -1.59982597e-4 + t * (0.285001936 + t * (0.259106898 + t * (0.349864193 + t * (-0.107932638
        + t * (0.568621674 + t * (-0.474831869 + t * 0.120390737))))));
    let y = select(1.0 - exp_f32(-z) * q, near, a < 1.0);
    return or_nan_f32(select(y, -y, x < 0.0), x);
}
