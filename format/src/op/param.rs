//! Parameters as words, and the macros that define enumerations and structures of them.

/// A parameter type: a fixed number of 32-bit words.
pub(crate) trait Param: Sized {
    const WORDS: usize;
    fn put(&self, out: &mut Vec<u32>);
    /// `words` holds exactly `WORDS` words. `None` when they spell no value of this type.
    fn get(words: &[u32]) -> Option<Self>;
    /// Whether no floating-point word in it is NaN: no parameter gives NaN a meaning.
    fn without_nan(&self) -> bool {
        true
    }
}

impl Param for u32 {
    const WORDS: usize = 1;
    fn put(&self, out: &mut Vec<u32>) {
        out.push(*self);
    }
    fn get(words: &[u32]) -> Option<Self> {
        Some(words[0])
    }
}

impl Param for i32 {
    const WORDS: usize = 1;
    fn put(&self, out: &mut Vec<u32>) {
        out.push(self.cast_unsigned());
    }
    fn get(words: &[u32]) -> Option<Self> {
        Some(words[0].cast_signed())
    }
}

impl Param for f32 {
    const WORDS: usize = 1;
    fn put(&self, out: &mut Vec<u32>) {
        out.push(self.to_bits());
    }
    fn get(words: &[u32]) -> Option<Self> {
        Some(Self::from_bits(words[0]))
    }
    fn without_nan(&self) -> bool {
        !self.is_nan()
    }
}

impl Param for bool {
    const WORDS: usize = 1;
    fn put(&self, out: &mut Vec<u32>) {
        out.push(u32::from(*self));
    }
    fn get(words: &[u32]) -> Option<Self> {
        match words[0] {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: Param, const N: usize> Param for [T; N] {
    const WORDS: usize = N * T::WORDS;
    fn put(&self, out: &mut Vec<u32>) {
        for v in self {
            v.put(out);
        }
    }
    fn get(words: &[u32]) -> Option<Self> {
        let mut values = words.chunks_exact(T::WORDS).map(T::get);
        let array: [Option<T>; N] = std::array::from_fn(|_| values.next().flatten());
        array.iter().all(Option::is_some).then(|| array.map(|v| v.expect("checked")))
    }
    fn without_nan(&self) -> bool {
        self.iter().all(T::without_nan)
    }
}

/// A C-like enum stored as one word, with its names.
macro_rules! word_enum {
    ($(#[$m:meta])* $name:ident { $($(#[$vm:meta])* $variant:ident = $code:literal $text:literal,)+ }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum $name { $($(#[$vm])* $variant = $code,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in listings.
            // A table and its reader in each message that has a name would be large.
            #[inline(never)]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl Param for $name {
            const WORDS: usize = 1;
            fn put(&self, out: &mut Vec<u32>) {
                out.push(*self as u32);
            }
            fn get(words: &[u32]) -> Option<Self> {
                match words[0] { $($code => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

/// A struct of parameters, stored field by field.
macro_rules! param_struct {
    ($(#[$m:meta])* $name:ident { $($(#[$fm:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name { $($(#[$fm])* pub $field: $ty,)* }

        impl Param for $name {
            const WORDS: usize = 0 $(+ <$ty as Param>::WORDS)*;
            #[allow(unused_variables)]
            fn put(&self, out: &mut Vec<u32>) {
                $(self.$field.put(out);)*
            }
            #[allow(unused_variables, unused_mut, unused_assignments)]
            fn get(words: &[u32]) -> Option<Self> {
                let mut at = 0;
                $(
                    let n = <$ty as Param>::WORDS;
                    let $field = <$ty as Param>::get(&words[at..at + n])?;
                    at += n;
                )*
                Some(Self { $($field,)* })
            }
            fn without_nan(&self) -> bool {
                true $(&& self.$field.without_nan())*
            }
        }
    };
}

pub(super) use param_struct;
pub(super) use word_enum;
