//! The macro that defines [`Op`](super::Op) by its table, and why a record spells none.

macro_rules! ops {
    ($($(#[$m:meta])* $name:ident = $code:literal $text:literal, inputs $min:literal..=$max:literal
        $(, $appended:literal words since minor $minor:literal)?;)+) => {
        /// A primitive step's operation and parameters.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Op { $($(#[$m])* $name($name),)+ }

        impl Op {
            /// Code, name, fewest and most inputs, and parameter words of every operation.
            pub const TABLE: &'static [(u16, &'static str, usize, usize, usize)] =
                &[$(($code, $text, $min, $max, <$name as Param>::WORDS),)+];

            /// The code that stands in the file.
            pub fn code(&self) -> u16 {
                match self { $(Self::$name(_) => $code,)+ }
            }

            /// The name in listings.
            // A table and its reader in each message that has a name would be large.
            #[inline(never)]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => $text,)+ }
            }

            /// Fewest and most inputs.
            pub fn arity(&self) -> (usize, usize) {
                match self { $(Self::$name(_) => ($min, $max),)+ }
            }

            /// The parameters as words. Those that a minor version appended stand there only up to the last one that
            /// is not zero.
            pub fn words(&self) -> Vec<u32> {
                let mut out = Vec::new();
                match self { $(Self::$name(p) => p.put(&mut out),)+ }
                while out.len() > self.first_words() && out.last() == Some(&0) {
                    out.pop();
                }
                out
            }

            /// Parameter words that the operation had at first.
            fn first_words(&self) -> usize {
                match self { $(Self::$name(_) => <$name as Param>::WORDS $(- $appended)?,)+ }
            }

            /// The least minor version of the format that has all these parameters.
            pub(crate) fn parameters_minor_version(&self) -> u16 {
                let appended = self.words().len() > self.first_words();
                match self {
                    $($(Self::$name(_) if appended => $minor,)?)+
                    _ => 0,
                }
            }

            pub(crate) fn without_nan(&self) -> bool {
                match self { $(Self::$name(p) => p.without_nan(),)+ }
            }

            /// The operation of a code and its parameter words. A later version that appends a parameter lets zero
            /// stand for what was done before: words past those this version knows have to be zero, and appended
            /// ones that are not there are.
            pub fn decode(code: u16, words: &[u32]) -> Result<Self, DecodeError> {
                match code {
                    $($code => {
                        const WORDS: usize = <$name as Param>::WORDS;
                        const FIRST: usize = WORDS $(- $appended)?;
                        if words.len() < FIRST {
                            return Err(DecodeError::Short { op: $text, want: FIRST, got: words.len() });
                        }
                        let (known, appended) = words.split_at(WORDS.min(words.len()));
                        if appended.iter().any(|&word| word != 0) {
                            return Err(DecodeError::Appended { op: $text });
                        }
                        let mut all = [0; WORDS];
                        all[..known.len()].copy_from_slice(known);
                        <$name as Param>::get(&all)
                            .map(Self::$name)
                            .filter(Self::in_range)
                            .ok_or(DecodeError::Value { op: $text })
                    })+
                    _ => Err(DecodeError::Code(code)),
                }
            }
        }
    };
}

pub(super) use ops;

/// Why a step record spells no operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DecodeError {
    #[error("operation code {0} is unknown; the file needs a newer runtime")]
    Code(u16),
    #[error("operation '{op}' has {got} parameter words where it needs {want}")]
    Short { op: &'static str, want: usize, got: usize },
    #[error("operation '{op}' uses parameters this runtime does not know; the file needs a newer runtime")]
    Appended { op: &'static str },
    #[error("a parameter of operation '{op}' is outside its range")]
    Value { op: &'static str },
}
