//! Everything that can be wrong with a spec: one variant per diagnostic code.
//!
//! A variant holds what its message needs, in the user's names. The place in
//! the text, further labels and help belong to [`crate::Diagnostic`].

/// Declares the problems: variant, code and message in one row each.
macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident $({ $($field:ident : $ty:ty),+ })? $code:literal $message:literal;)+) => {
        /// What is wrong with a spec.
        #[derive(Clone, PartialEq, Debug, thiserror::Error)]
        pub enum Problem {
            $(
                $(#[$doc])*
                #[error($message)]
                $variant $({
                    $(
                        #[doc = concat!("The `", stringify!($field), "` of the message.")]
                        $field: $ty
                    ),+
                })?,
            )+
        }

        impl Problem {
            /// The codes of all problems, in order of declaration.
            pub const CODES: &'static [&'static str] = &[$($code),+];

            /// The stable code shown in brackets: `error[unknown-axis]`.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)+
                }
            }
        }
    };
}

problems! {
    /// The text is longer than [`crate::Limits::source_bytes`].
    SourceTooLarge { bytes: usize, limit: usize } "source-too-large" "the text has {bytes} bytes; the limit is {limit}";
    /// A character that begins no token.
    UnexpectedCharacter { character: char } "unexpected-character" "unexpected character {character:?}";
    /// A number followed by letters, or with an empty exponent.
    MalformedNumber { text: String } "malformed-number" "`{text}` is not a number";
    /// A literal that fits neither i64 nor f64.
    NumberOutOfRange { text: String } "number-out-of-range" "the number `{text}` is out of range";
    /// The grammar wants something else here.
    UnexpectedToken { found: String, expected: String } "unexpected-token" "expected {expected}, found {found}";
    /// A bracket that nothing closes.
    UnclosedBracket { bracket: &'static str } "unclosed-bracket" "`{bracket}` is never closed";
    /// Deeper than [`crate::Limits::nesting`].
    NestingTooDeep { limit: usize } "nesting-too-deep" "this expression nests deeper than {limit} levels";
    /// A word of the language used as a name.
    ReservedName { name: String } "reserved-name" "`{name}` is a word of the language and cannot be a name";
    /// More than [`crate::Limits::diagnostics`] errors.
    TooManyErrors { limit: usize } "too-many-errors" "stopped after {limit} errors";
    /// No statement at all.
    EmptySpec "empty-spec" "the spec is empty";
    /// Nothing to compute.
    NoOutput "no-output" "the spec has no output";
    /// A name that nothing defines.
    UnknownName { name: String } "unknown-name" "nothing is called `{name}`";
    /// An axis that no `axis` line and no input mentions.
    UnknownAxis { name: String } "unknown-axis" "there is no axis `{name}`";
    /// A call of a function that nothing defines.
    UnknownFunction { name: String } "unknown-function" "there is no function `{name}`";
    /// A reduction that does not exist.
    UnknownReduction { name: String } "unknown-reduction" "there is no reduction `{name}`";
    /// A storage type that does not exist.
    UnknownType { name: String } "unknown-type" "there is no type `{name}`";
    /// An `example` of something that is no extent.
    UnknownExtent { name: String } "unknown-extent" "no axis has the extent `{name}`";
    /// A setting of something that is neither a parameter nor an extent.
    UnknownSetting { name: String } "unknown-setting" "`{name}` is set, but the spec has no such parameter or extent";
    /// A setting of the wrong kind of number.
    SettingType { name: String, value: String, wanted: &'static str } "setting-type" "`{name}` is set to {value}, but it must be {wanted}";
    /// Two definitions of one name.
    DuplicateName { name: String } "duplicate-name" "`{name}` is defined twice";
    /// One axis twice in one list.
    DuplicateAxis { name: String } "duplicate-axis" "axis `{name}` is listed twice";
    /// A use before the definition.
    DefinedLater { name: String } "defined-later" "`{name}` is used before its definition";
    /// A definition that uses itself.
    RecursiveDefinition { name: String } "recursive-definition" "the definition of `{name}` uses itself";
    /// One axis, two extents.
    ExtentConflict { axis: String, first: String, second: String } "extent-conflict" "axis `{axis}` has two extents: {first} and {second}";
    /// An extent below one.
    EmptyExtent { name: String, value: i64 } "empty-extent" "the extent of `{name}` is {value}; an extent is at least 1";
    /// Data or positions where a constant of the spec is needed.
    NotConstant { what: &'static str, why: String } "not-constant" "{what} must not depend on {why}";
    /// A number where a predicate is needed.
    ExpectedTruth { found: &'static str } "expected-truth-value" "expected a truth value, found {found}";
    /// A real where an integer is needed.
    ExpectedInteger { what: &'static str, found: &'static str } "expected-integer" "{what} must be an integer, but this is {found}";
    /// Too many or too few indices.
    WrongRank { name: String, rank: usize, given: usize } "wrong-rank" "`{name}` has rank {rank}, but {given} indices are given";
    /// An index that no axis of this extent has, whatever the extents are.
    IndexOutOfRange { name: String, axis: String, index: String } "index-out-of-range" "`{name}` is indexed at {index}, outside its axis `{axis}`";
    /// Indexing something that is no tensor.
    NotATensor { name: String, what: &'static str } "not-a-tensor" "`{name}` is {what} and cannot be indexed";
    /// A function used without arguments.
    FunctionAsValue { name: String } "function-as-value" "`{name}` is a function and needs arguments";
    /// Too many or too few arguments.
    WrongArgumentCount { name: String, wanted: String, given: usize } "wrong-argument-count" "`{name}` takes {wanted}, but {given} are given";
    /// Free axes that the declared list lacks.
    MissingAxes { name: String, axes: String } "missing-axes" "`{name}` does not list {axes}, free in its expression";
    /// Several axes where a reduction has a meaning for one only.
    OneAxisOnly { reduction: &'static str } "one-axis-only" "`{reduction}` runs over one axis";
    /// A `require` that the parameters make false.
    RequireFalse { text: String } "require-false" "the requirement `{text}` does not hold";
    /// A constant that does not fit in 64 bits.
    ArithmeticOverflow "arithmetic-overflow" "this integer does not fit in 64 bits";
    /// A constant divided by zero, or an integer by what is zero at a position.
    DivisionByZero "division-by-zero" "this divides by zero";
    /// A range whose ends are the wrong way round.
    EmptyRange { low: String, high: String } "empty-range" "the range {low} .. {high} is empty";
    /// `runs` on an input that cannot have runs.
    RunsNeedIntegers { name: String } "runs-need-integers" "`{name}` cannot have runs: they need integers along an axis";
    /// `scale` on an input that is not drawn from a normal distribution.
    ScaleNeedsReals { name: String } "scale-needs-reals" "`{name}` cannot have a scale: it needs reals without a range";
    /// An `iterate` count that is negative or above [`crate::Limits::iterations`].
    IterationCount { count: i64, limit: i64 } "iteration-count" "{count} repetitions; `iterate` takes 0 to {limit}";
    /// A `concat` part that lacks the axis it is joined along, or joins an axis with itself.
    ConcatAxis { message: String } "concat-axis" "{message}";
    /// More terms, steps, depth or axes than [`crate::Limits`] allow.
    SpecTooLarge { what: &'static str, limit: usize } "spec-too-large" "the spec needs more than {limit} {what}";
}
