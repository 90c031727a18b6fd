//! Proxy: the PROXY protocol, versions 1 and 2: whom a connection is for, said before its first byte.
//!
//! A listener either takes it or does not: whether a header is there is never guessed, since a reader that may write one
//! could be anybody. Where it is taken, it is required, and from trusted peers only.

use std::{io, net::SocketAddr, ops::Range, sync::Arc};

use arc_swap::ArcSwap;
use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{
    peer::{Peer, PeerAddress},
    trusted::TrustedPeers,
};

/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\x00\r\nQUIT\n";
/// The signature, the command, the family and the length of what follows.
const PREFIX: usize = SIGNATURE.len() + 4;
/// The longest line of version 1, with its end.
const LONGEST_LINE: usize = 107;
/// The addresses take 216 bytes at most; the rest is for what a sender adds, a certificate's name for example.
const LONGEST: usize = 4 << 10;

/// From whom a listener takes headers of the PROXY protocol. Clones share it.
#[derive(Clone, Debug)]
pub struct ProxyProtocol(Arc<ArcSwap<TrustedPeers>>);

impl ProxyProtocol {
    /// From these peers.
    pub fn from_peers(trusted: TrustedPeers) -> ProxyProtocol {
        ProxyProtocol(Arc::new(ArcSwap::from_pointee(trusted)))
    }

    /// From now on these peers are the trusted ones. Connections that have shown their header go on.
    pub fn trust(&self, trusted: TrustedPeers) {
        self.0.store(Arc::new(trusted));
    }

    pub(crate) fn trusts(&self, peer: PeerAddress) -> bool {
        self.0.load().trusts(peer)
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    source: Option<SocketAddr>,
    /// The reader came to the proxy over TLS.
    pub(crate) is_encrypted: bool,
}

impl Header {
    /// Who is at the other end of the proxy. Where the header does not tell, what the connection says may be anybody's
    /// word, and not the proxy's.
    pub(crate) fn peer(&self, proxy: Peer) -> Peer {
        let address = self.source.map_or(PeerAddress::Untold, PeerAddress::Told);
        Peer { address, ..proxy }
    }
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHeader {
    #[error("the connection does not begin with a PROXY header")]
    Malformed,
    #[error("a PROXY header of {0} bytes is too long")]
    TooLong(usize),
    #[error("the connection ended in its PROXY header")]
    Io(#[from] io::Error),
}

/// Reads the header and not a byte more.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Header, NoHeader> {
    let mut bytes = Vec::with_capacity(LONGEST_LINE);
    loop {
        match next(&bytes)? {
            Next::Whole => return parsed(&bytes),
            Next::Exactly(more) => {
                let begin = bytes.len();
                bytes.resize(begin + more, 0);
                stream.read_exact(&mut bytes[begin..]).await?;
            }
            // What comes after the line is not the header's, and is looked at where it lies.
            Next::UpToLineEnd(most) => {
                let mut ahead = [0; LONGEST_LINE];
                let there = stream.peek(&mut ahead[..most]).await?;
                let ours = memchr::memchr(b'\n', &ahead[..there]).map_or(there, |end| end + 1);
                if ours == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                let begin = bytes.len();
                bytes.resize(begin + ours, 0);
                stream.read_exact(&mut bytes[begin..]).await?;
            }
        }
    }
}

/// What is still to be read.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Whole,
    Exactly(usize),
    UpToLineEnd(usize),
}

fn next(bytes: &[u8]) -> Result<Next, NoHeader> {
    // The shortest line of version 1 is longer than this.
    if bytes.len() < SIGNATURE.len() {
        return Ok(Next::Exactly(SIGNATURE.len() - bytes.len()));
    }
    if bytes.starts_with(SIGNATURE) {
        let Some(length) = bytes.get(PREFIX - 2..PREFIX) else {
            return Ok(Next::Exactly(PREFIX - bytes.len()));
        };
        let whole = PREFIX + usize::from(u16::from_be_bytes([length[0], length[1]]));
        return match whole - bytes.len().min(whole) {
            0 => Ok(Next::Whole),
            _ if whole > LONGEST => Err(NoHeader::TooLong(whole)),
            more => Ok(Next::Exactly(more)),
        };
    }
    if !bytes.starts_with(b"PROXY ") {
        return Err(NoHeader::Malformed);
    }
    match LONGEST_LINE - bytes.len() {
        _ if bytes.ends_with(b"\n") => Ok(Next::Whole),
        0 => Err(NoHeader::TooLong(bytes.len())),
        most => Ok(Next::UpToLineEnd(most)),
    }
}

/// The command that says that the proxy speaks for itself.
const LOCAL: u8 = 0x20;
/// The kind of what a sender adds that is a checksum of the header, and how many bytes it has.
const CRC32C: u8 = 3;
const CRC_BYTES: usize = 4;

/// Whether what stands behind the addresses of version 2 is whole, and its checksum right, if it has one: no header may be
/// taken whose checksum is wrong (§2.2.3 of the specification).
fn check_added(header: &[u8]) -> Result<(), NoHeader> {
    let addresses = match header[SIGNATURE.len() + 1] >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    let mut rest = header.get(PREFIX + addresses..).ok_or(NoHeader::Malformed)?;
    while let Some((kind, after)) = rest.split_first() {
        let (length, after) = after.split_first_chunk().ok_or(NoHeader::Malformed)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, after) = after.split_at_checked(length).ok_or(NoHeader::Malformed)?;
        if *kind == CRC32C {
            let said = value.try_into().map(u32::from_be_bytes);
            let at = header.len() - after.len() - length;
            if said.ok() != Some(crc32c(header, at..at + CRC_BYTES)) {
                return Err(NoHeader::Malformed);
            }
        }
        rest = after;
    }
    Ok(())
}

/// The checksum of these bytes, those in `zeroed` taken for zeros (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8], zeroed: Range<usize>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = u32::MAX;
    for (at, byte) in bytes.iter().enumerate() {
        crc ^= if zeroed.contains(&at) { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
        }
    }
    !crc
}

fn parsed(bytes: &[u8]) -> Result<Header, NoHeader> {
    let is_second = bytes.starts_with(SIGNATURE);
    let config = ParseConfig { include_tlvs: true, ..ParseConfig::default() };
    let malformed = |_: Error| NoHeader::Malformed;
    let (header, length) = ProxyHeader::parse(bytes, config).map_err(malformed)?;
    if length != bytes.len() {
        return Err(NoHeader::Malformed);
    }
    if is_second && bytes[SIGNATURE.len()] == LOCAL {
        // Whatever else it says is not for us: the connection is the proxy's own.
        return Ok(Header { source: None, is_encrypted: false });
    }
    if is_second {
        check_added(bytes)?;
    }
    let source = match header.proxied_address() {
        Some(proxied) if proxied.protocol == Protocol::Datagram => return Err(NoHeader::Malformed),
        proxied => proxied.map(|proxied| proxied.source),
    };
    let is_encrypted = header.ssl().is_some_and(|ssl| ssl.client_ssl());
    Ok(Header { source, is_encrypted })
}

#[cfg(test)]
mod tests {
    use proxy_header::{ProxiedAddress, SslInfo, Tlv};
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    /// What is read of `pieces`, which come one by one, and what is left behind the header.
    async fn read_of(pieces: &[&[u8]]) -> (Result<Header, NoHeader>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let sending = async {
            sender.set_nodelay(true).unwrap();
            for piece in pieces {
                sender.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            sender.shutdown().await.unwrap();
        };
        let (header, ()) = tokio::join!(read(&mut stream), sending);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        (header, rest)
    }

    fn v2(header: &ProxyHeader<'_>) -> Vec<u8> {
        let mut bytes = [0; 8 << 10];
        let length = header.encode_to_slice_v2(&mut bytes).unwrap();
        bytes[..length].to_vec()
    }

    fn known(ip: &str) -> Option<SocketAddr> {
        Some(ip.parse().unwrap())
    }

    #[tokio::test]
    async fn a_header_is_read_to_its_end_and_not_a_byte_further_however_it_comes() {
        let address = |ip: &str| ProxiedAddress::stream(ip.parse().unwrap(), ip.parse().unwrap());
        let (v4, v6) = (address("203.0.113.7:4711"), address("[2001:db8::7]:4711"));
        let mut with_tls = ProxyHeader::with_address(v4.clone());
        with_tls.append_tlv(Tlv::UniqueId(b"one"[..].into()));
        with_tls.append_tlv(Tlv::Ssl(SslInfo::new(true, false, false, 0)));
        let mut in_the_open = ProxyHeader::with_address(v4.clone());
        in_the_open.append_tlv(Tlv::Ssl(SslInfo::new(false, false, false, 0)));
        let mut unix = [&SIGNATURE[..], b"\x21\x31\x00\xd8"].concat();
        unix.resize(PREFIX + 216, 0);
        let rows: Vec<(Vec<u8>, Option<SocketAddr>, bool)> = vec![
            (
                b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n".to_vec(),
                known("203.0.113.7:4711"),
                false,
            ),
            (
                b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n".to_vec(),
                known("[2001:db8::7]:4711"),
                false,
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None, false),
            (b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n".to_vec(), None, false),
            (v2(&ProxyHeader::with_address(v4)), known("203.0.113.7:4711"), false),
            (v2(&ProxyHeader::with_address(v6)), known("[2001:db8::7]:4711"), false),
            (v2(&with_tls), known("203.0.113.7:4711"), true),
            (v2(&in_the_open), known("203.0.113.7:4711"), false),
            (v2(&ProxyHeader::with_local()), None, false),
            // The command PROXY of a family that says nothing, and of one that has no addresses.
            ([&SIGNATURE[..], b"\x21\x00\x00\x00"].concat(), None, false),
            (unix, None, false),
        ];
        for (bytes, source, is_encrypted) in rows {
            let expected = Header { source, is_encrypted };
            let whole = [&bytes[..], b"GET /\n"].concat();
            let each: Vec<_> = whole.chunks(1).collect();
            for pieces in [vec![&whole[..]], each, vec![&whole[..14], &whole[14..]]] {
                let (header, rest) = read_of(&pieces).await;
                assert_eq!(header.unwrap(), expected, "{bytes:?}");
                assert_eq!(rest, b"GET /\n", "{bytes:?}");
            }
        }
    }

    #[test]
    fn the_checksum_is_that_of_its_standard() {
        assert_eq!(crc32c(b"123456789", 0..0), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32], 0..0), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0; 30][..], &[7, 7]].concat(), 30..32), 0x8a91_36aa);
    }

    /// A header of version 2 with these bytes behind its addresses.
    fn with_added(command: u8, added: &[u8]) -> Vec<u8> {
        let length = u16::try_from(12 + added.len()).unwrap().to_be_bytes();
        let addresses = [203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 0, 80];
        [&SIGNATURE[..], &[command, 0x11], &length, &addresses, added].concat()
    }

    #[tokio::test]
    async fn what_a_sender_adds_is_whole_and_its_checksum_right() {
        let ssl = [0x20, 0, 5, 1, 0, 0, 0, 0];
        let mut checked = with_added(0x21, &[&[CRC32C, 0, 4, 0, 0, 0, 0][..], &ssl].concat());
        let crc = crc32c(&checked, 0..0).to_be_bytes();
        checked[31..35].copy_from_slice(&crc);
        let mut changed = checked.clone();
        changed[16] ^= 1;
        let fine = [
            (with_added(0x21, &ssl), true),
            (checked, true),
            (with_added(0x21, &[4, 0, 0]), false),
        ];
        for (bytes, is_encrypted) in fine {
            let (header, _) = read_of(&[&bytes]).await;
            assert_eq!(header.unwrap(), Header { source: known("203.0.113.7:4711"), is_encrypted });
        }
        for bytes in [
            changed,
            with_added(0x21, &[CRC32C, 0, 2, 0, 0]),
            with_added(0x21, &[4, 0]),
            with_added(0x21, &[4, 0, 2, 0]),
            with_added(0x21, &[&ssl[..], &[4]].concat()),
        ] {
            let (header, _) = read_of(&[&bytes]).await;
            assert!(header.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn what_a_proxy_says_of_its_own_connection_is_not_looked_at() {
        for added in [&[0x20, 0, 5, 1, 0, 0, 0, 0][..], &[4, 0], &[CRC32C, 0, 4, 1, 2, 3, 4]] {
            let (header, rest) = read_of(&[&with_added(LOCAL, added), b"GET"]).await;
            assert_eq!(header.unwrap(), Header { source: None, is_encrypted: false });
            assert_eq!(rest, b"GET");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_before_much_of_it_is_read() {
        let mut long = [&SIGNATURE[..], b"\x21\x11\xff\xff"].concat();
        long.resize(9000, 0);
        let lines = [
            &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"PROXY TCP4 203.0.113.7 192.0.2.1 4711\r\n",
            b"PROXY TCP4 2001:db8::7 192.0.2.1 4711 80\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 99999\r\n",
            b"PROXY TCP9 203.0.113.7 192.0.2.1 4711 80\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\n",
            b"PROXY \r\n\r\n\r\n\r\n",
            b"proxy TCP4 203.0.113.7 192.0.2.1 4711 80\r\n",
            b"PROXY TCP4 203.0.113.7",
            b"PROXY",
            b"",
            &[b'P'; 300],
            b"PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x04\x01\x02\x03\x04",
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c\x01\x02\x03\x04\x01\x02\x03\x04\x00\x01\x00\x01",
            b"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c\x01\x02\x03\x04\x01\x02\x03\x04\x00\x01\x00\x01",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00",
            &long,
        ];
        for line in lines {
            let (header, _) = read_of(&[line]).await;
            assert!(header.is_err(), "{:?}", String::from_utf8_lossy(line));
        }
    }
}
