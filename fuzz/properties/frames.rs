//! Any bytes on the wire: messages are cut the same however they arrive, and what is read off one is all there is in it.

use bytes::BytesMut;
use pgbelay::wire::{
    BindView, FrameError, Header, ParseView, StartupPacket, Target, TransactionState, backend_header, error_field,
    frontend_header, put_bind_head, put_parse, put_query, put_shifted_error, put_target, read_execute, read_query,
    skip, startup_size, tag_rows,
};

/// Its tag and its body.
type Message = (u8, Vec<u8>);

type Cut = fn(&[u8]) -> Result<Option<Header>, FrameError>;

pub(crate) fn check(data: &[u8]) {
    let Some((&way, data)) = data.split_first() else { return };
    match way % 3 {
        0 => {
            for (tag, body) in cut_alike(data, frontend_header) {
                frontend(tag, &body);
            }
        }
        1 => {
            for (tag, body) in cut_alike(data, backend_header) {
                backend(tag, &body);
            }
        }
        _ => startup(data),
    }
}

/// The messages of a stream, which must be the same whether it comes whole or byte by byte.
fn cut_alike(data: &[u8], header: Cut) -> Vec<Message> {
    let mut whole = BytesMut::from(data);
    let (messages, error) = cut(&mut whole, header);
    let mut pieces = BytesMut::new();
    let (mut single, mut end) = (Vec::new(), Ok(()));
    for byte in data {
        pieces.extend_from_slice(&[*byte]);
        let (more, found) = cut(&mut pieces, header);
        single.extend(more);
        end = found;
        if end.is_err() {
            break;
        }
    }
    assert_eq!(messages, single, "cut otherwise byte by byte");
    assert_eq!(error, end);
    messages
}

fn cut(buf: &mut BytesMut, header: Cut) -> (Vec<Message>, Result<(), FrameError>) {
    let mut messages = Vec::new();
    loop {
        match header(buf) {
            Ok(Some(found)) if found.size <= buf.len() => {
                assert!(found.size >= 5);
                messages.push((found.tag, buf[5..found.size].to_vec()));
                let left = buf.len() - found.size;
                skip(buf, found);
                assert_eq!(buf.len(), left);
            }
            Ok(_) => return (messages, Ok(())),
            Err(error) => return (messages, Err(error)),
        }
    }
}

/// What is read off a message, written again, is the message.
fn frontend(tag: u8, body: &[u8]) {
    let mut again = BytesMut::new();
    let read = match tag {
        b'Q' => read_query(body).map(|sql| {
            assert!(!sql.contains('\0'));
            put_query(sql.as_bytes(), &mut again);
        }),
        b'P' => ParseView::read(body).map(|view| put_parse(view.name, view.sql.as_bytes(), view.types, &mut again)),
        b'B' => BindView::read(body).map(|view| {
            put_bind_head(view.portal, view.statement, view.rest.len(), &mut again);
            again.extend_from_slice(view.rest);
            if let Ok(values) = view.text_parameters() {
                let held: usize = values.iter().flatten().map(String::len).sum();
                // A byte that is no UTF-8 becomes three.
                assert!(held <= view.rest.len() * 3);
            }
        }),
        b'D' | b'C' => Target::read(body).map(|target| {
            let (kind, name) = match target {
                Target::Statement(name) => (b'S', name),
                Target::Portal(name) => (b'P', name),
            };
            put_target(tag, kind, name, &mut again);
        }),
        b'E' => read_execute(body).map(|portal| assert_eq!(body.len(), portal.len() + 5)),
        _ => return,
    };
    if read.is_ok() && !again.is_empty() {
        assert_eq!(again[0], tag);
        assert_eq!(&again[5..], body, "read and written again it is another message");
    }
    if read.is_ok() && tag != b'B' {
        let mut longer = body.to_vec();
        longer.push(0);
        let more = match tag {
            b'Q' => read_query(&longer).is_ok(),
            b'P' => ParseView::read(&longer).is_ok(),
            b'E' => read_execute(&longer).is_ok(),
            _ => Target::read(&longer).is_ok(),
        };
        assert!(!more, "bytes left over are taken");
    }
}

fn backend(tag: u8, body: &[u8]) {
    match tag {
        b'E' | b'N' => {
            let message = error_field(body, b'M');
            let mut shifted = BytesMut::new();
            put_shifted_error(body, 7, &mut shifted);
            if message.is_some() {
                assert_eq!(error_field(&shifted[5..], b'M'), message, "a moved error says something else");
            }
        }
        b'C' => {
            let _rows = tag_rows(body);
        }
        b'Z' => {
            let _state = body.first().copied().and_then(TransactionState::from_byte);
        }
        _ => {}
    }
}

fn startup(data: &[u8]) {
    let size = startup_size(data);
    for end in 4..data.len() {
        assert_eq!(startup_size(&data[..end]), size, "the size depends on what follows");
    }
    let Ok(Some(size)) = size else { return };
    let Some(packet) = data.get(..size) else { return };
    let Ok(read) = StartupPacket::read(packet) else { return };
    let mut again = packet[..4].to_vec();
    match read {
        StartupPacket::Ssl => again.extend(80_877_103_i32.to_be_bytes()),
        StartupPacket::GssEnc => again.extend(80_877_104_i32.to_be_bytes()),
        StartupPacket::Cancel { pid, key } => {
            again.extend(80_877_102_i32.to_be_bytes());
            again.extend(pid.to_be_bytes());
            again.extend(key);
        }
        StartupPacket::Startup { major, minor, parameters } => {
            again.extend(major.to_be_bytes());
            again.extend(minor.to_be_bytes());
            for (name, value) in parameters {
                for text in [name, value] {
                    again.extend(text.into_bytes());
                    again.push(0);
                }
            }
            again.push(0);
        }
    }
    assert_eq!(again, packet, "read and written again it is another packet");
}
