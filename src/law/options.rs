//! How a law is set up before it is fitted.

/// How the warm-up enters a law.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WarmupRule {
    /// Its true LRs count in `S₁`; its changes of the LR get no response. The default: a law then
    /// starts from its plateau, as all published ones but the multi-power law's repository do.
    #[default]
    Ignored,
    /// Its true LRs count in `S₁`, and each rise as a negative drop, from 0 on. As the repository of the
    /// multi-power law does; it also makes the plateau depend on the peak LR.
    Rise,
    /// As `Ignored`, with the warm-up's last LR counted throughout it in `S₁`, as the Tissue paper does.
    /// For comparisons.
    ConstantPeak,
}

/// Options of [`super::by_name`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LawOptions {
    /// A free offset `sigma` is added to `S₁` everywhere, for curves whose warm-up was not logged (they
    /// count it as if it stood at the peak, so sigma is negative). With sigma < 0 no `S₁` is taken as
    /// less than −sigma, its value at the end of a linear warm-up that would explain sigma. Laws
    /// without `S₁` take no notice.
    pub s1_offset: bool,
    pub warmup: WarmupRule,
    /// Parameters held at a value instead of fitted, by name.
    pub fixed: Vec<(String, f64)>,
}
