//! Linear layers, their gradients, and the head with the loss: products, and what follows them.

use super::device::{Address, Gelu, Number, Operand, Product};
use super::run::{LOSS_THREADS, mask};
use super::{Cuda, Run, SUM_BLOCKS};
use crate::engine::program::{Buf, Finish, FinishBack, Op, Span, Store, Weight};
use crate::error::Result;
use crate::kernels::WeightLayout;
use crate::kernels::gemm::Precision;

/// Columns a block of block_sums in reduce.cu.
const SUM_COLUMNS: usize = 128;
/// Fewest rows a block of it.
const SUM_ROWS: usize = 64;

impl Cuda {
    fn act(&self) -> Number {
        match self.precision {
            Precision::F32 => Number::F32,
            Precision::Bf16 => Number::Bf16,
        }
    }

    fn stored(&self, store: Store) -> Number {
        match store {
            Store::F32 => Number::F32,
            Store::Act => self.act(),
        }
    }

    /// Parameters as products read them, from this one on.
    fn factors(&self, offset: usize) -> Address {
        match self.rounded {
            Some(rounded) => rounded.after(2 * offset),
            None => self.weights.after(4 * offset),
        }
    }

    /// A bias as a product that leaves `number`s takes it.
    fn bias(&self, bias: Option<Span>, number: Number) -> Option<Address> {
        bias.map(|span| match number {
            Number::F32 => self.parameter(span),
            Number::Bf16 => self.factors(span.offset),
        })
    }

    pub(super) fn products(&mut self, run: &Run, op: &Op) -> Result<()> {
        let n = run.program.sizes.tokens();
        match *op {
            Op::Linear {
                x,
                weight,
                bias,
                finish,
            } => self.linear(run, x, weight, bias, finish),
            Op::LinearInput { dy, weight, finish } => self.input_gradient(n, dy, weight, finish),
            Op::LinearWeight {
                x,
                dy,
                weight,
                bias,
            } => {
                let out = self.gradient(weight.span());
                let (x, dy_at) = (self.at(x), self.at(dy));
                self.weight_gradient(n, x, (dy_at, weight.outputs), weight, out, run.add)?;
                match bias {
                    Some(bias) => self.bias_gradient(n, dy, weight.outputs, bias, run.add),
                    None => Ok(()),
                }
            }
            _ => unreachable!("not a product"),
        }
    }

    /// `x·W` for `rows` rows, as a product by columns: `Wᵀ` from the left.
    fn forward_product(
        &self,
        rows: usize,
        x: Address,
        weight: Weight,
        d: Address,
        number: Number,
    ) -> Product {
        let (stride, transposed) = match weight.layout {
            WeightLayout::OutIn => (weight.inputs, true),
            WeightLayout::InOut => (weight.outputs, false),
        };
        Product {
            m: weight.outputs,
            n: rows,
            k: weight.inputs,
            a: Operand {
                at: self.factors(weight.offset),
                stride,
                transposed,
            },
            b: Operand {
                at: x,
                stride: weight.inputs,
                transposed: false,
            },
            number: self.act(),
            d,
            d_stride: weight.outputs,
            d_number: number,
            c: None,
            bias: None,
            gelu: None,
        }
    }

    /// `dy·Wᵀ`: `W` from the left. Rows of `dy` lie `dy_stride` numbers apart.
    fn input_product(
        &self,
        rows: usize,
        (dy, dy_stride): (Address, usize),
        weight: Weight,
        d: Address,
    ) -> Product {
        let (stride, transposed) = match weight.layout {
            WeightLayout::OutIn => (weight.inputs, false),
            WeightLayout::InOut => (weight.outputs, true),
        };
        Product {
            m: weight.inputs,
            n: rows,
            k: weight.outputs,
            a: Operand {
                at: self.factors(weight.offset),
                stride,
                transposed,
            },
            b: Operand {
                at: dy,
                stride: dy_stride,
                transposed: false,
            },
            number: self.act(),
            d,
            d_stride: weight.inputs,
            d_number: self.act(),
            c: None,
            bias: None,
            gelu: None,
        }
    }

    /// The gradient of a weight, as the weight lies, added to `out` if `add`.
    fn weight_gradient(
        &mut self,
        rows: usize,
        x: Address,
        (dy, dy_stride): (Address, usize),
        weight: Weight,
        out: Address,
        add: bool,
    ) -> Result<()> {
        let x = Operand {
            at: x,
            stride: weight.inputs,
            transposed: false,
        };
        let dy = Operand {
            at: dy,
            stride: dy_stride,
            transposed: false,
        };
        let across = |operand: Operand| Operand {
            transposed: true,
            ..operand
        };
        let (m, n, a, b) = match weight.layout {
            WeightLayout::OutIn => (weight.inputs, weight.outputs, x, across(dy)),
            WeightLayout::InOut => (weight.outputs, weight.inputs, dy, across(x)),
        };
        self.device.multiply(&Product {
            m,
            n,
            k: rows,
            a,
            b,
            number: self.act(),
            d: out,
            d_stride: m,
            d_number: Number::F32,
            c: add.then_some(out),
            bias: None,
            gelu: None,
        })
    }

    fn bias_gradient(
        &mut self,
        rows: usize,
        dy: Buf,
        width: usize,
        bias: Span,
        add: bool,
    ) -> Result<()> {
        let kernel = match self.stored(dy.store) == self.act() {
            true => "block_sums",
            false => "block_sums_f32",
        };
        let rows_a_block = rows.div_ceil(SUM_BLOCKS).max(SUM_ROWS);
        let blocks = rows.div_ceil(rows_a_block);
        let partials = self.partials.at;
        let arguments = [
            self.at(dy).into(),
            (rows as u32).into(),
            (width as u32).into(),
            (rows_a_block as u32).into(),
            partials.into(),
        ];
        let columns = width.div_ceil(SUM_COLUMNS) as u32;
        self.launch(kernel, [columns, blocks as u32, 1], 256, &arguments)?;
        let out = self.gradient(bias);
        self.sum_partials(partials, blocks, width, width, add, out)
    }

    fn linear(
        &mut self,
        run: &Run,
        x: Buf,
        weight: Weight,
        bias: Option<Span>,
        finish: Finish,
    ) -> Result<()> {
        let n = run.program.sizes.tokens();
        let x = self.at(x);
        match finish {
            Finish::Store { out } => {
                let mut product = self.forward_product(n, x, weight, self.at(out), self.act());
                product.bias = self.bias(bias, self.act());
                self.device.multiply(&product)
            }
            Finish::Gelu { pre, out } => {
                let (pre, to) = (self.at(pre), self.at(out));
                let mut product = self.forward_product(n, x, weight, to, self.act());
                product.bias = self.bias(bias, self.act());
                product.gelu = Some(Gelu::Forward(pre));
                if self.device.takes(&product) {
                    return self.device.multiply(&product);
                }
                (product.d, product.gelu) = (pre, None);
                self.device.multiply(&product)?;
                self.launch_over("gelu", out.len, &[pre.into(), to.into()])
            }
            Finish::Residual {
                residual,
                out,
                site,
            } => {
                let mut product = self.forward_product(n, x, weight, self.at(out), Number::F32);
                product.bias = self.bias(bias, Number::F32);
                let mask = mask(run, site);
                if mask.is_none() {
                    product.c = Some(self.at(residual));
                    if self.device.takes(&product) {
                        return self.device.multiply(&product);
                    }
                    product.c = None;
                }
                self.device.multiply(&product)?;
                let arguments = [self.at(residual).into(), mask.into(), self.at(out).into()];
                self.launch_over("masked_residual", out.len, &arguments)
            }
        }
    }

    fn input_gradient(
        &mut self,
        n: usize,
        dy: Buf,
        weight: Weight,
        finish: FinishBack,
    ) -> Result<()> {
        assert_eq!(self.stored(dy.store), self.act(), "products of activations");
        let dy = (self.at(dy), weight.outputs);
        match finish {
            FinishBack::Store { dx } => {
                let product = self.input_product(n, dy, weight, self.at(dx));
                self.device.multiply(&product)
            }
            FinishBack::Gelu { pre, dpre } => {
                let pre = self.at(pre);
                let mut product = self.input_product(n, dy, weight, self.at(dpre));
                product.gelu = Some(Gelu::Backward(pre));
                if self.device.takes(&product) {
                    self.device.multiply(&product)?;
                    return self.launch_over("gelu", dpre.len, &[pre.into(), pre.into()]);
                }
                product.gelu = None;
                self.device.multiply(&product)?;
                let arguments = [pre.into(), product.d.into()];
                self.launch_over("gelu_back", dpre.len, &arguments)
            }
            FinishBack::Swiglu {
                gate_up,
                dgate_up,
                act,
            } => {
                let product = self.input_product(n, dy, weight, self.at(act));
                self.device.multiply(&product)?;
                let arguments = [
                    self.at(gate_up).into(),
                    self.at(dgate_up).into(),
                    self.at(act).into(),
                ];
                self.launch_over("swiglu_back", act.len, &arguments)
            }
        }
    }

    pub(super) fn head(&mut self, run: &Run, op: &Op) -> Result<()> {
        let Op::Loss {
            x,
            head,
            rows,
            stride,
            logits,
            losses,
            dx,
        } = *op
        else {
            unreachable!("not a loss");
        };
        let (n, d) = (run.program.sizes.tokens(), head.inputs);
        let act = self.act().bytes();
        // Products go on to the end of a row, where the gradients of logits are 0: shapes that they like, and what they read
        // of the head beyond its last row is other parameters, or room behind them.
        let padded = Weight {
            outputs: stride,
            ..head
        };
        let per_row = run.scale / n as f32;
        let logits = self.at(logits);
        for start in (0..n).step_by(rows) {
            let count = rows.min(n - start);
            let x = self.at(x).after(act * d * start);
            let product = self.forward_product(count, x, padded, logits, self.act());
            self.device.multiply(&product)?;
            let arguments = [
                logits.into(),
                run.micro.targets.after(4 * start).into(),
                per_row.into(),
                dx.is_some().into(),
                self.at(losses).after(4 * start).into(),
            ];
            let blocks = [count as u32, 1, 1];
            self.launch("cross_entropy", blocks, LOSS_THREADS, &arguments)?;
            if let Some(dx) = dx {
                let dx = self.at(dx).after(act * d * start);
                let product = self.input_product(count, (logits, stride), padded, dx);
                self.device.multiply(&product)?;
                let out = self.gradient(head.span());
                let add = run.add || start > 0;
                self.weight_gradient(count, x, (logits, stride), head, out, add)?;
            }
        }
        Ok(())
    }
}
