//! How layers of options lie over each other.

/// The fields of the first where it says something, else those of the second; tables below `tables` by their own `over`.
macro_rules! over {
    ($upper:expr, $under:expr; $($field:ident),+ $(,)?) => { over!($upper, $under; $($field),+; tables) };
    ($upper:expr, $under:expr; $($field:ident),+; tables $($table:ident),*) => {
        Self { $($field: $upper.$field.or($under.$field),)+ $($table: $upper.$table.over($under.$table),)* }
    };
}
pub(crate) use over;
