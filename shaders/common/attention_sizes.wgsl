    let heads = params[0][1];
    let key_heads = params[0][2];
    let queries = params[0][3];
    let keys = params[1][0];
    let width = params[1][1];
    let value_width = params[1][2];
    let factor = bitcast<f32>(params[1][3]);
    let group = heads / key_heads;
