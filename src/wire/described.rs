//! What a Describe tells of a prepared statement, as far as it must stay the same (Postgres documentation, "Message Formats":
//! RowDescription, ParameterDescription, NoData).

use std::hash::{DefaultHasher, Hasher};
use std::num::NonZeroU64;

/// Stands for the types of a statement's parameters, or for the columns that it returns.
pub type Shape = NonZeroU64;

/// The columns of a RowDescription, by what Postgres compares when a plan is made anew (`equalTupleDescs`): name, type and type
/// modifier. NoData has none.
pub fn shape_of_rows(body: &[u8]) -> Shape {
    const BEHIND_NAME: usize = 18;
    let mut hasher = DefaultHasher::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while let Some(end) = rest.iter().position(|&byte| byte == 0)
        && let Some(column) = rest.get(end + 1..=end + BEHIND_NAME)
    {
        // Table (4 bytes), column of the table (2), type (4), its length (2), type modifier (4), format (2).
        hasher.write(&rest[..=end]);
        hasher.write(&column[6..10]);
        hasher.write(&column[12..16]);
        rest = &rest[end + 1 + BEHIND_NAME..];
    }
    shape(&hasher)
}

/// The types of a ParameterDescription.
pub fn shape_of_parameters(body: &[u8]) -> Shape {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    shape(&hasher)
}

fn shape(hasher: &DefaultHasher) -> Shape {
    NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(columns: &[(&str, u32, u32, u16)]) -> Vec<u8> {
        let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
        for (name, table, of, format) in columns {
            body.extend(
                [name.as_bytes(), &[0], &table.to_be_bytes(), &[0, 1], &of.to_be_bytes(), &[0, 4], &[0xff; 4]].concat(),
            );
            body.extend(format.to_be_bytes());
        }
        body
    }

    #[test]
    fn names_and_types_tell_apart_and_formats_and_tables_do_not() {
        let one = shape_of_rows(&described(&[("a", 1, 23, 0), ("b", 1, 25, 0)]));
        assert_eq!(one, shape_of_rows(&described(&[("a", 2, 23, 1), ("b", 2, 25, 1)])));
        for other in
            [&[("a", 1, 20, 0), ("b", 1, 25, 0)][..], &[("a", 1, 23, 0), ("c", 1, 25, 0)], &[("a", 1, 23, 0)], &[]]
        {
            assert_ne!(one, shape_of_rows(&described(other)));
        }
        assert_eq!(shape_of_rows(&described(&[])), shape_of_rows(b""), "NoData");
        assert_ne!(shape_of_parameters(&[0, 1, 0, 0, 0, 23]), shape_of_parameters(&[0, 1, 0, 0, 0, 20]));
    }
}
