// GELU and SwiGLU: see activation.rs. Four numbers a thread.

#define SLOPE 1.595769f
#define CUBIC 0.044715f

DEVICE float gelu_gate(float x) { return sigmoid(SLOPE * x * (1.0f + CUBIC * x * x)); }

// out = gelu(pre), which may be the same.
KERNEL void gelu(const Act *pre, Act *out, u64 count) {
    u64 i = 4 * ((u64)blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    Four x = load4(pre + i);
    for (int k = 0; k < 4; k++) x.at[k] *= gelu_gate(x.at[k]);
    store4(out + i, x);
}

// dpre holds the gradient of gelu(pre) and becomes that of pre, which becomes gelu(pre).
KERNEL void gelu_back(Act *pre, Act *dpre, u64 count) {
    u64 i = 4 * ((u64)blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    Four x = load4(pre + i), dy = load4(dpre + i);
    for (int k = 0; k < 4; k++) {
        float s = gelu_gate(x.at[k]);
        dy.at[k] *= s + x.at[k] * s * (1.0f - s) * SLOPE * (1.0f + 3.0f * CUBIC * x.at[k] * x.at[k]);
        x.at[k] *= s;
    }
    store4(dpre + i, dy);
    store4(pre + i, x);
}

// gate_up [rows, 2 MLP] to out [rows, MLP].
KERNEL void swiglu(const Act *gate_up, Act *out, u64 count) {
    u64 i = 4 * ((u64)blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    u64 from = i / MLP * 2 * MLP + i % MLP;
    Four g = load4(gate_up + from), u = load4(gate_up + from + MLP), y;
    for (int k = 0; k < 4; k++) y.at[k] = g.at[k] * sigmoid(g.at[k]) * u.at[k];
    store4(out + i, y);
}

// act holds the gradient of the output and becomes the output; the gradients of gates and ups into dgate_up.
KERNEL void swiglu_back(const Act *gate_up, Act *dgate_up, Act *act, u64 count) {
    u64 i = 4 * ((u64)blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    u64 from = i / MLP * 2 * MLP + i % MLP;
    Four g = load4(gate_up + from), u = load4(gate_up + from + MLP), dy = load4(act + i), dg, du;
    for (int k = 0; k < 4; k++) {
        float s = sigmoid(g.at[k]), silu = g.at[k] * s;
        dg.at[k] = dy.at[k] * u.at[k] * s * (1.0f + g.at[k] * (1.0f - s));
        du.at[k] = dy.at[k] * silu;
        dy.at[k] = silu * u.at[k];
    }
    store4(dgate_up + from, dg);
    store4(dgate_up + from + MLP, du);
    store4(act + i, dy);
}
