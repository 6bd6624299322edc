    if (wg >= params[2].x) {
        return;
    }
    // The workgroup's examples, and this thread's channels and positions.
    let group = wg % params[0].z;
    let begin = wg / params[0].z * params[0].w;
    let end = min(params[0].w, params[0].x - begin);
    let lane = lid % ${LANES}u;
#for k in 0..${LOADS}
    let position${k} = lane % ${PLACES}u + ${k}u * ${PLACES}u;
#end
#for b in 0..${BATCHES}
    let channel${b} = lane / ${PLACES}u + ${b}u * ${SLOTS}u;
#for k in 0..${LOADS}
    let at${b}_${k} = channel${b} * params[1].y + position${k};
#if ${b} == ${RAGGED_BATCH}
#if ${k} == ${RAGGED_LOAD}
    let on${b}_${k} = channel${b} < params[1].x && position${k} < params[1].y;
#else
    let on${b}_${k} = channel${b} < params[1].x;
#end
#else
#if ${k} == ${RAGGED_LOAD}
    let on${b}_${k} = position${k} < params[1].y;
#else
    let on${b}_${k} = true;
#end
#end
#end
#end
