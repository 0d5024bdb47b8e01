//! Borrowed views of the frontend messages that must be understood, each read strictly inside its own frame.

use super::{BodyError, Reader};

/// Parse: makes a prepared statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseView<'a> {
    /// Statement name; empty for the unnamed one.
    pub name: &'a str,
    /// Its text.
    pub sql: &'a str,
    /// Parameter types: a count and OIDs, as sent.
    pub types: &'a [u8],
}

impl<'a> ParseView<'a> {
    /// Reads the body of a Parse message.
    pub fn read(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(body);
        let name = reader.str()?;
        let sql = reader.str()?;
        let types = reader.rest();
        let count = usize::from(reader.i16()?.cast_unsigned());
        reader.bytes(count * 4)?;
        reader.finish()?;
        Ok(Self { name, sql, types })
    }
}

/// The names at the front of a Bind message; the parameters behind them are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindView<'a> {
    /// Portal name; empty for the unnamed one.
    pub portal: &'a str,
    /// Statement name; empty for the unnamed one.
    pub statement: &'a str,
    /// Parameter formats, parameters and result formats, as sent.
    pub rest: &'a [u8],
}

impl<'a> BindView<'a> {
    /// Reads the names off the front of a Bind message's body, which need not be whole.
    pub fn read(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(body);
        let portal = reader.str()?;
        let statement = reader.str()?;
        Ok(Self { portal, statement, rest: reader.rest() })
    }

    /// The parameters as sent: their formats, then their values; the result formats behind them are left out.
    pub fn parameters(&self) -> Result<&'a [u8], BodyError> {
        let mut reader = Reader::new(self.rest);
        let formats = usize::from(reader.i16()?.cast_unsigned());
        reader.bytes(formats * 2)?;
        let count = usize::from(reader.i16()?.cast_unsigned());
        for _ in 0..count {
            if let Ok(length) = usize::try_from(reader.i32()?) {
                reader.bytes(length)?;
            }
        }
        Ok(&self.rest[..self.rest.len() - reader.rest().len()])
    }

    /// The parameters in text form, for the audit trail: `None` for NULL and for values in binary format.
    pub fn text_parameters(&self) -> Result<Vec<Option<String>>, BodyError> {
        let mut reader = Reader::new(self.rest);
        let formats = usize::from(reader.i16()?.cast_unsigned());
        let codes = reader.bytes(formats * 2)?;
        let count = usize::from(reader.i16()?.cast_unsigned());
        let mut values = Vec::with_capacity(count.min(1024));
        for index in 0..count {
            let length = reader.i32()?;
            let Ok(length) = usize::try_from(length) else {
                values.push(None);
                continue;
            };
            let value = reader.bytes(length)?;
            let code = match formats {
                0 => 0,
                1 => codes[1],
                _ => codes.get(index * 2 + 1).copied().unwrap_or(0),
            };
            values.push((code == 0).then(|| String::from_utf8_lossy(value).into_owned()));
        }
        Ok(values)
    }
}

/// Whether a Describe or Close speaks of a statement or a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement's name.
    Statement(&'a str),
    /// A portal's name.
    Portal(&'a str),
}

impl<'a> Target<'a> {
    /// Reads the body of a Describe or Close message.
    pub fn read(body: &'a [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(body);
        let kind = reader.u8()?;
        let name = reader.str()?;
        reader.finish()?;
        match kind {
            b'S' => Ok(Target::Statement(name)),
            b'P' => Ok(Target::Portal(name)),
            _ => Err(BodyError::Field),
        }
    }
}

/// Reads the portal's name off the body of an Execute message.
pub fn read_execute(body: &[u8]) -> Result<&str, BodyError> {
    let mut reader = Reader::new(body);
    let portal = reader.str()?;
    reader.i32()?;
    reader.finish()?;
    Ok(portal)
}

/// Reads the function's OID off the body of a FunctionCall message, and checks that its lengths are true.
pub fn read_function_call(body: &[u8]) -> Result<u32, BodyError> {
    let mut reader = Reader::new(body);
    let oid = reader.i32()?.cast_unsigned();
    let formats = usize::from(reader.i16()?.cast_unsigned());
    reader.bytes(formats * 2)?;
    for _ in 0..reader.i16()?.cast_unsigned() {
        // A negative length is NULL.
        if let Ok(length) = usize::try_from(reader.i32()?) {
            reader.bytes(length)?;
        }
    }
    reader.i16()?;
    reader.finish()?;
    Ok(oid)
}

/// Reads the text off the body of a Query message.
pub fn read_query(body: &[u8]) -> Result<&str, BodyError> {
    std::str::from_utf8(read_query_bytes(body)?).map_err(|_| BodyError::Encoding)
}

/// The same in whatever encoding it is.
pub fn read_query_bytes(body: &[u8]) -> Result<&[u8], BodyError> {
    let mut reader = Reader::new(body);
    let sql = reader.cstr()?;
    reader.finish()?;
    Ok(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_hidden_behind_a_nul_is_refused() {
        assert_eq!(read_query(b"SELECT 1\0DELETE FROM t\0"), Err(BodyError::Leftover));
        assert_eq!(ParseView::read(b"s\0SELECT 1\0\0\0x"), Err(BodyError::Leftover));
    }

    #[test]
    fn a_function_call_is_read_to_its_end() {
        // lo_open(42, NULL), both binary.
        let call = b"\0\0\x03\xb8\0\x01\0\x01\0\x02\0\0\0\x04\0\0\0\x2a\xff\xff\xff\xff\0\x01";
        assert_eq!(read_function_call(call), Ok(952));
        for end in 0..call.len() {
            assert_eq!(read_function_call(&call[..end]), Err(BodyError::Short), "{end}");
        }
        assert_eq!(read_function_call(&[call.as_slice(), b"x"].concat()), Err(BodyError::Leftover));
        let mut lying = *call;
        lying[10] = 0x7f;
        assert_eq!(read_function_call(&lying), Err(BodyError::Short));
    }

    #[test]
    fn short_bodies_are_errors_not_panics() {
        let parse = b"s\0SELECT $1\0\0\x01\0\0\0\x17";
        assert!(ParseView::read(parse).is_ok());
        for end in 0..parse.len() {
            assert!(ParseView::read(&parse[..end]).is_err(), "{end}");
        }
        assert_eq!(ParseView::read(b"s\0SELECT\0\xff\xff"), Err(BodyError::Short));
        assert_eq!(Target::read(b"X\0"), Err(BodyError::Field));
        assert_eq!(read_execute(b"\0\0\0\0"), Err(BodyError::Short));
    }

    #[test]
    fn parameters_are_read_as_text() {
        let body = b"\0s\0\0\x02\0\0\0\x01\0\x03\0\0\0\x01x\0\0\0\x02\0\x01\xff\xff\xff\xff\0\0";
        let bind = BindView::read(body).unwrap();
        assert_eq!(bind.statement, "s");
        assert_eq!(bind.text_parameters().unwrap(), [Some("x".to_owned()), None, None]);
        assert_eq!(bind.parameters().unwrap(), &bind.rest[..bind.rest.len() - 2], "all but the result formats");
        let lying = BindView::read(b"\0\0\0\0\xff\xff").unwrap();
        assert!(lying.text_parameters().is_err() && lying.parameters().is_err());
    }
}
