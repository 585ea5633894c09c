//! Linear layers, their gradients, and the head with the loss.

use super::{Batch, Run, Scratch, mask, span, span_mut};
use crate::engine::program::{Finish, FinishBack, Op, Store, Weight};
use crate::kernels::dropout::Mask;
use crate::kernels::element::Element;
use crate::kernels::gemm::{Matrix, Micro, PackedB, pack, pack_b, product_into, product_lines};
use crate::kernels::shared::Shared;
use crate::kernels::{WeightLayout, activation, finish, loss, reduce, table};

/// A region as a left-hand side, whatever it is stored as.
macro_rules! with_rows {
    ($run:expr, $E:ty, $buf:expr, |$x:ident| $body:expr) => {
        match $buf.store {
            Store::F32 => {
                let $x = $run.arena.read::<f32>($buf);
                $body
            }
            Store::Act => {
                let $x = $run.arena.read::<$E>($buf);
                $body
            }
        }
    };
}

impl Run<'_> {
    pub(super) fn multiply<E: Element>(&self, op: &Op, batch: &mut Batch, scratch: &mut Scratch) {
        let n = self.program.sizes.tokens();
        match *op {
            Op::Linear {
                x,
                weight,
                bias,
                finish,
            } => {
                let b = self.pack(in_out(batch.weights, weight), &mut scratch.packed);
                let a = Matrix::dense(self.arena.read::<E>(x), n, weight.inputs);
                let bias = bias.map(|b| span(batch.weights, b));
                self.linear(a, b, weight.outputs, bias, finish, batch);
            }
            Op::LinearInput { dy, weight, finish } => {
                let b = self.pack(in_out(batch.weights, weight).t(), &mut scratch.packed);
                with_rows!(self, E, dy, |dy| {
                    let a = Matrix::dense(dy, n, weight.outputs);
                    self.input_gradient::<E, _>(a, b, weight.inputs, finish);
                });
            }
            Op::LinearWeight {
                x,
                dy,
                weight,
                bias,
            } => {
                let out = span_mut(batch.gradients, weight.span());
                let x = Matrix::dense(self.arena.read::<E>(x), n, weight.inputs);
                with_rows!(self, E, dy, |dy| {
                    let dy = Matrix::dense(dy, n, weight.outputs);
                    match weight.layout {
                        WeightLayout::InOut => {
                            let b = self.pack(dy, &mut scratch.packed);
                            product_into(self.precision, x.t(), b, out, batch.add);
                        }
                        WeightLayout::OutIn => {
                            let b = self.pack(x, &mut scratch.packed);
                            product_into(self.precision, dy.t(), b, out, batch.add);
                        }
                    }
                });
                if let Some(bias) = bias {
                    let width = weight.outputs;
                    let partials = &mut scratch.partials[..reduce::blocks(n) * width];
                    with_rows!(self, E, dy, |dy| reduce::block_sums(dy, width, partials));
                    let out = span_mut(batch.gradients, bias);
                    reduce::sum_partials(partials, width, out, batch.add);
                }
            }
            _ => unreachable!("not a product"),
        }
    }

    fn linear<E: Element>(
        &self,
        a: Matrix<E>,
        b: PackedB,
        outputs: usize,
        bias: Option<&[f32]>,
        finish: Finish,
        batch: &Batch,
    ) {
        match finish {
            Finish::Store { out } => {
                let out = Shared::new(self.arena.write::<E>(out));
                product_lines(self.precision, a, b, &|line, row, column| {
                    // SAFETY: every line of a product comes once.
                    let out = unsafe { out.part(row * outputs + column, line.len()) };
                    match bias {
                        Some(bias) => finish::store_biased(line, &bias[column..], out),
                        None => finish::store(line, out),
                    }
                });
            }
            Finish::Gelu { pre, out } => {
                let bias = bias.expect("GELU follows a layer with a bias");
                let pre = Shared::new(self.arena.write::<E>(pre));
                let out = Shared::new(self.arena.write::<E>(out));
                product_lines(self.precision, a, b, &|line, row, column| {
                    let start = row * outputs + column;
                    // SAFETY: as above.
                    let (pre, out) =
                        unsafe { (pre.part(start, line.len()), out.part(start, line.len())) };
                    activation::gelu_line(line, &bias[column..], pre, out);
                });
            }
            Finish::Residual {
                residual,
                out,
                site,
            } => {
                let mask: Option<Mask> = mask(batch, site);
                let residual = self.arena.read::<f32>(residual);
                let out = Shared::new(self.arena.write::<f32>(out));
                product_lines(self.precision, a, b, &|line, row, column| {
                    let start = row * outputs + column;
                    if let Some(bias) = bias {
                        finish::add(&bias[column..column + line.len()], line);
                    }
                    if let Some(mask) = mask {
                        table::drop_line(line, mask, start as u64);
                    }
                    // SAFETY: as above.
                    let out = unsafe { out.part(start, line.len()) };
                    finish::add_residual(line, &residual[start..], out);
                });
            }
        }
    }

    fn input_gradient<E: Element, A: Element>(
        &self,
        a: Matrix<A>,
        b: PackedB,
        inputs: usize,
        finish: FinishBack,
    ) {
        match finish {
            FinishBack::Store { dx } => {
                let dx = Shared::new(self.arena.write::<E>(dx));
                product_lines(self.precision, a, b, &|line, row, column| {
                    // SAFETY: every line of a product comes once.
                    finish::store(line, unsafe { dx.part(row * inputs + column, line.len()) });
                });
            }
            FinishBack::Gelu { pre, dpre } => {
                let pre = Shared::new(self.arena.write::<E>(pre));
                let dpre = Shared::new(self.arena.write::<E>(dpre));
                product_lines(self.precision, a, b, &|line, row, column| {
                    let start = row * inputs + column;
                    // SAFETY: as above.
                    let (pre, dpre) =
                        unsafe { (pre.part(start, line.len()), dpre.part(start, line.len())) };
                    activation::gelu_back_line(line, pre, dpre);
                });
            }
            FinishBack::Swiglu {
                gate_up,
                dgate_up,
                act,
            } => {
                let gate_up = self.arena.read::<E>(gate_up);
                let dgate_up = Shared::new(self.arena.write::<E>(dgate_up));
                let act = Shared::new(self.arena.write::<E>(act));
                product_lines(self.precision, a, b, &|line, row, column| {
                    let len = line.len();
                    let gate = 2 * row * inputs + column;
                    let up = gate + inputs;
                    // SAFETY: as above; gates and ups lie apart.
                    let (dgate, dup, act) = unsafe {
                        (
                            dgate_up.part(gate, len),
                            dgate_up.part(up, len),
                            act.part(row * inputs + column, len),
                        )
                    };
                    let (gate, up) = (&gate_up[gate..gate + len], &gate_up[up..up + len]);
                    activation::swiglu_back_line(line, gate, up, dgate, dup, act);
                });
            }
        }
    }

    fn pack<'a, A: Element>(&self, b: Matrix<A>, packed: &'a mut [u32]) -> PackedB<'a> {
        let micro = Micro::of(self.precision);
        let packed = &mut packed[..pack::packed_b_len(micro, b.rows(), b.columns())];
        pack_b(self.precision, b, packed, true);
        PackedB::new(packed, micro, b.rows(), b.columns())
    }

    pub(super) fn loss<E: Element>(&self, op: &Op, batch: &mut Batch, scratch: &mut Scratch) {
        let Op::Loss {
            x,
            head,
            rows,
            logits,
            losses,
            dx,
            ..
        } = *op
        else {
            unreachable!("not a loss");
        };
        let (n, d, v) = (self.program.sizes.tokens(), head.inputs, head.outputs);
        let micro = Micro::of(self.precision);
        let matrix = in_out(batch.weights, head);
        // The head is packed anew for every block and direction into one buffer: with a large
        // vocabulary a second one would weigh more than the 1 % of the time that it saves.
        let [forward, back] = [(d, v), (v, d)].map(|(k, n)| pack::packed_b_len(micro, k, n));
        let (for_head, for_rows) = scratch.packed.split_at_mut(forward.max(back));
        let per_row = dx.is_some().then_some(batch.scale / n as f32);
        let x = self.arena.read::<E>(x);
        let losses = self.arena.write::<f32>(losses);
        for start in (0..n).step_by(rows) {
            let block = start..(start + rows).min(n);
            let x = Matrix::dense(&x[block.start * d..block.end * d], block.len(), d);
            let logits = &mut self.arena.write::<f32>(logits)[..block.len() * v];
            if start == 0 || dx.is_some() {
                self.pack(matrix, for_head);
            }
            let packed = PackedB::new(&for_head[..forward], micro, d, v);
            product_into(self.precision, x, packed, logits, false);
            let targets = &batch.targets[block.clone()];
            loss::cross_entropy(logits, targets, v, per_row, &mut losses[block.clone()]);
            if let Some(dx) = dx {
                let dlogits = Matrix::dense(logits, block.len(), v);
                let dx = self.arena.write::<E>(dx);
                let dx = Shared::new(&mut dx[block.start * d..block.end * d]);
                let packed = self.pack(matrix.t(), for_head);
                product_lines(self.precision, dlogits, packed, &|line, row, column| {
                    // SAFETY: every line of a product comes once.
                    finish::store(line, unsafe { dx.part(row * d + column, line.len()) });
                });
                let b = self.pack(x, for_rows);
                let out = span_mut(batch.gradients, head.span());
                product_into(self.precision, dlogits.t(), b, out, batch.add || start > 0);
            }
        }
    }
}

/// A weight as the matrix `[in, out]`.
fn in_out(weights: &[f32], weight: Weight) -> Matrix<'_, f32> {
    let values = span(weights, weight.span());
    weight.layout.in_out(values, weight.inputs, weight.outputs)
}
