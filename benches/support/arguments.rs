//! What a bench was asked on its command line: `--name` or `--name VALUE`.

/// The words after the program's name.
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    pub(crate) fn read() -> Self {
        // The first is the program.
        Self(std::env::args().skip(1).collect())
    }

    /// Whether to measure. `cargo test --benches`, which only wants to know that it builds, does not say this.
    pub(crate) fn measure(&self) -> bool {
        self.has("--bench")
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|word| word == name)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|word| word == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str, default: u64) -> u64 {
        self.value(name).map_or(default, |text| text.parse().expect("a whole number"))
    }

    pub(crate) fn words(&self) -> &[String] {
        &self.0
    }
}
