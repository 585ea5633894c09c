//! The linear layer as one node of candle's tape.

use super::WeightLayout;
use crate::kernels::gemm::{Matrix, Precision, multiply};
use crate::kernels::reduce;
use crate::ops::bridge;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

/// Arguments: x, weight and, as a three-argument operation, bias.
pub(super) struct Linear {
    pub(super) layout: WeightLayout,
}

type Operand<'a> = (&'a CpuStorage, &'a Layout);

impl Linear {
    fn forward(
        &self,
        (x, x_layout): Operand,
        (weight, weight_layout): Operand,
        bias: Option<Operand>,
    ) -> Result<(CpuStorage, Shape)> {
        let (w0, w1) = weight_layout.shape().dims2()?;
        let outputs = match self.layout {
            WeightLayout::OutIn => w0,
            WeightLayout::InOut => w1,
        };
        let x = bridge::slice(x, x_layout)?;
        let weight = bridge::slice(weight, weight_layout)?;
        let bias = match bias {
            Some((bias, layout)) => Some(bridge::slice(bias, layout)?),
            None => None,
        };
        let mut dims = x_layout.dims().to_vec();
        let inputs = std::mem::replace(dims.last_mut().expect("checked by linear()"), outputs);
        let rows = x.len() / inputs;
        let mut y = match bias {
            Some(bias) => bias.repeat(rows),
            None => vec![0.0; rows * outputs],
        };
        let weight = self.layout.in_out(weight, inputs, outputs);
        let x = Matrix::dense(x, rows, inputs);
        multiply(Precision::F32, x, weight, &mut y, bias.is_some());
        bridge::result(y, dims)
    }

    /// Gradients of x and weight.
    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (x_data, weight_data) = (bridge::floats(x)?, bridge::floats(weight)?);
        let dy = bridge::floats(dy)?;
        let (w0, w1) = weight.dims2()?;
        let (inputs, outputs) = match self.layout {
            WeightLayout::OutIn => (w1, w0),
            WeightLayout::InOut => (w0, w1),
        };
        let rows = dy.len() / outputs;
        let dy_no = Matrix::dense(&dy, rows, outputs);
        let x_ni = Matrix::dense(&x_data, rows, inputs);
        let mut dx = None;
        if x.track_op() {
            let weight_io = self.layout.in_out(&weight_data, inputs, outputs);
            let mut data = vec![0.0; x_data.len()];
            multiply(Precision::F32, dy_no, weight_io.t(), &mut data, false);
            dx = Some(bridge::gradient(data, x)?);
        }
        let mut dweight = None;
        if weight.track_op() {
            let (a, b) = match self.layout {
                WeightLayout::OutIn => (dy_no.t(), x_ni),
                WeightLayout::InOut => (x_ni.t(), dy_no),
            };
            let mut data = vec![0.0; weight_data.len()];
            multiply(Precision::F32, a, b, &mut data, false);
            dweight = Some(bridge::gradient(data, weight)?);
        }
        Ok((dx, dweight))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((x, x_layout), (weight, weight_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, weight, &dy.contiguous()?)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let bias = Some((bias, bias_layout));
        self.forward((x, x_layout), (weight, weight_layout), bias)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (dx, dweight) = self.backward(x, weight, &dy)?;
        let dy = bridge::floats(&dy)?;
        let outputs = bias.elem_count();
        let mut partials = vec![0.0; reduce::blocks(dy.len() / outputs) * outputs];
        let mut dbias = vec![0.0; outputs];
        reduce::block_sums(&dy, outputs, &mut partials);
        reduce::sum_partials(&partials, outputs, &mut dbias, false);
        Ok((dx, dweight, Some(bridge::gradient(dbias, bias)?)))
    }
}
