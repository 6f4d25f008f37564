//! Small recordings of much silence, written byte by byte.

/// Checksum of 8 bits (polynomial 7) over a FLAC frame's header.
fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 != 0 { crc << 1 ^ 0x07 } else { crc << 1 })
    })
}

/// Checksum of 16 bits (polynomial 0x8005) over a FLAC frame.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc: u16, _| {
                if crc & 0x8000 != 0 { crc << 1 ^ 0x8005 } else { crc << 1 }
            },
        )
    })
}

/// A number as FLAC writes those of its frames: in UTF-8.
fn frame_number(number: u32) -> Vec<u8> {
    let character = char::from_u32(number).expect("fewer frames than surrogates");
    character.to_string().into_bytes()
}

/// FLAC, 16 kHz mono: each frame of 65 535 samples says once that all of them are 0.
pub fn flac(seconds: u32) -> Vec<u8> {
    const BLOCK: u16 = 65_535;
    let mut bytes = b"fLaC\x80\x00\x00\x22".to_vec();
    bytes.extend([BLOCK.to_be_bytes(), BLOCK.to_be_bytes()].concat());
    bytes.extend([0; 6]);
    // 20 bits of rate, 3 of channels less one, 5 of bits less one, 36 of samples (not known).
    bytes.extend((16_000_u64 << 44 | 15 << 36).to_be_bytes());
    bytes.extend([0; 16]);
    for number in 0..(seconds * 16_000).div_ceil(u32::from(BLOCK)) {
        let mut frame = vec![0xff, 0xf8, 0x70, 0x08];
        frame.extend(frame_number(number));
        frame.extend((BLOCK - 1).to_be_bytes());
        frame.push(crc8(&frame));
        // A constant subframe, and its value.
        frame.extend([0, 0, 0]);
        let check = crc16(&frame);
        frame.extend(check.to_be_bytes());
        bytes.extend(frame);
    }
    bytes
}

/// Checksum of an Ogg page.
fn ogg_crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc: u32, _| {
            if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
        })
    })
}

fn ogg_page(kind: u8, granule: u64, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut page = b"OggS\x00".to_vec();
    page.push(kind);
    page.extend(granule.to_le_bytes());
    page.extend(7_u32.to_le_bytes());
    page.extend(number.to_le_bytes());
    page.extend([0; 4]);
    page.push(packets.len() as u8);
    page.extend(packets.iter().map(|packet| packet.len() as u8));
    page.extend(packets.concat());
    let check = ogg_crc(&page);
    page[22..26].copy_from_slice(&check.to_le_bytes());
    page
}

const OPUS_HEAD: &[u8] = b"OpusHead\x01\x01\x00\x00\x80\xbb\x00\x00\x00\x00\x00";

/// Opus, mono: packets of two bytes, in which two frames of 60 ms are empty.
pub fn ogg_opus(seconds: u32) -> Vec<u8> {
    // SILK, 60 ms, narrow band; an arbitrary number of frames: two.
    const PACKET: &[u8] = &[0b0001_1011, 2];
    const SAMPLES: u64 = 5_760;
    let mut bytes = ogg_page(2, 0, 0, &[OPUS_HEAD]);
    bytes.extend(ogg_page(0, 0, 1, &[b"OpusTags\x00\x00\x00\x00\x00\x00\x00\x00"]));
    let mut left = u64::from(seconds) * 48_000 / SAMPLES;
    let (mut granule, mut number) = (0, 2);
    while left > 0 {
        let packets = left.min(255);
        left -= packets;
        granule += packets * SAMPLES;
        let kind = if left == 0 { 4 } else { 0 };
        bytes.extend(ogg_page(kind, granule, number, &vec![PACKET; packets as usize]));
        number += 1;
    }
    bytes
}

/// MP3, MPEG 2.5 at 8 kHz and 8 kbit/s, mono: 72 bytes for 72 ms, with nothing in them.
pub fn mp3(seconds: u32) -> Vec<u8> {
    let mut frame = [0; 72];
    frame[..4].copy_from_slice(&[0xff, 0xe3, 0x18, 0xc0]);
    frame.repeat((seconds * 1_000).div_ceil(72) as usize)
}

fn boxed(name: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32 + 8).to_be_bytes()[..], name, payload].concat()
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Seconds of sound in a chunk of `mov_in_circles`, at 8 kHz in 16 bit.
const CHUNK_S: u32 = 1;

/// QuickTime with PCM, whose chunks of a second all lie in the same place.
pub fn mov_in_circles(seconds: u32) -> Vec<u8> {
    mov(seconds / CHUNK_S, &[])
}

fn mov(chunks: u32, user_data: &[u8]) -> Vec<u8> {
    const RATE: u32 = 8_000;
    let samples = chunks * RATE * CHUNK_S;
    let head = boxed(b"ftyp", b"qt  \x00\x00\x00\x00qt  ");
    let sound = boxed(b"mdat", &vec![0; (RATE * CHUNK_S * 2) as usize]);
    let place = head.len() as u32 + 8;
    let mut entry = vec![0; 6];
    // Data reference, version, revision, vendor, channels, bits, compression, packet, and the rate.
    entry.extend([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 16, 0, 0, 0, 0]);
    entry.extend((RATE << 16).to_be_bytes());
    let full = |name: &[u8; 4], values: &[u32]| boxed(name, &numbers(values));
    let mut places = vec![0, chunks];
    places.extend(vec![place; chunks as usize]);
    let table = [
        boxed(b"stsd", &[&numbers(&[0, 1])[..], &boxed(b"sowt", &entry)].concat()),
        full(b"stts", &[0, 1, samples, 1]),
        full(b"stsc", &[0, 1, 1, RATE * CHUNK_S, 1]),
        full(b"stsz", &[0, 2, samples]),
        full(b"stco", &places),
    ]
    .concat();
    let information =
        [full(b"smhd", &[0, 0]), boxed(b"dinf", &full(b"dref", &[0, 0])), boxed(b"stbl", &table)].concat();
    let media = [
        full(b"mdhd", &[0, 0, 0, RATE, samples, 0]),
        boxed(b"hdlr", &[&[0; 8][..], b"soun", &[0; 13]].concat()),
        boxed(b"minf", &information),
    ]
    .concat();
    let mut track_head = numbers(&[7, 0, 0, 1, 0, samples]);
    track_head.extend([0; 60]);
    let track = [boxed(b"tkhd", &track_head), boxed(b"mdia", &media)].concat();
    let mut movie_head = numbers(&[0, 0, 0, RATE, samples]);
    movie_head.extend([0; 80]);
    let movie = [&boxed(b"mvhd", &movie_head)[..], &boxed(b"trak", &track), user_data].concat();
    [head, sound, boxed(b"moov", &movie)].concat()
}

/// QuickTime of ten seconds whose cover picture has `size` bytes; without them, and where they belong.
pub fn mov_with_picture(size: u32) -> (Vec<u8>, usize) {
    let grown = |name: &[u8; 4], payload: &[u8]| {
        [&(payload.len() as u32 + 8 + size).to_be_bytes()[..], name, payload].concat()
    };
    let picture = grown(b"covr", &grown(b"data", &numbers(&[13, 0])));
    let list = grown(b"ilst", &picture);
    let handler = boxed(b"hdlr", &[&[0; 8][..], b"mdirappl", &[0; 9]].concat());
    let user_data = grown(b"udta", &grown(b"meta", &[&[0; 4][..], &handler, &list].concat()));
    let mut bytes = mov(10, &user_data);
    let at = bytes.windows(4).position(|name| name == b"moov").expect("there is one") - 4;
    let stated = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    bytes[at..at + 4].copy_from_slice(&(stated + size).to_be_bytes());
    let end = bytes.len();
    (bytes, end)
}

/// A tag with a picture of `size` bytes; without them, and where they belong.
pub fn id3_with_picture(size: u32) -> (Vec<u8>, usize) {
    let head = b"\x00image/png\x00\x03\x00";
    let frame_size = head.len() as u32 + size;
    let tag_size = frame_size + 10;
    let sevens = [21, 14, 7, 0].map(|shift| (tag_size >> shift & 0x7f) as u8);
    let mut bytes = b"ID3\x03\x00\x00".to_vec();
    bytes.extend(sevens);
    bytes.extend(b"APIC");
    bytes.extend(frame_size.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(head);
    let at = bytes.len();
    (bytes, at)
}

/// FLAC of two seconds behind `count` pictures of almost 16 MB each: pieces, and bytes of nothing behind each.
pub fn flac_with_pictures(count: usize) -> Vec<(Vec<u8>, u64)> {
    const SIZE: u32 = (1 << 24) - 1;
    let sound = flac(2);
    // The mark and the stream's own block, which is not the last one any more.
    let mut stream = sound[..42].to_vec();
    stream[4] = 0;
    let mut pieces = vec![(stream, 0)];
    for number in 1..=count {
        let mut block = vec![if number == count { 0x86 } else { 6 }];
        block.extend(&SIZE.to_be_bytes()[1..]);
        let head = [&numbers(&[3, 9])[..], b"image/png", &numbers(&[0, 1, 1, 24, 0, SIZE - 41])].concat();
        block.extend(&head);
        pieces.push((block, u64::from(SIZE) - head.len() as u64));
    }
    pieces.push((sound[42..].to_vec(), 0));
    pieces
}

/// WAV of two seconds behind a chunk of `size` bytes; without them, and where they belong.
pub fn wav_with_chunk(size: u32) -> (Vec<u8>, usize) {
    let mut bytes = b"RIFF\xff\xff\xff\xffWAVELIST".to_vec();
    bytes.extend((size + 4).to_le_bytes());
    bytes.extend(b"INFO");
    let at = bytes.len();
    bytes.extend(&pcm_wav(16_000, 16, 1, &[0; 64_000])[12..]);
    (bytes, at)
}

fn pcm_wav(rate: u32, bits: u16, tag: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\x00\x00\x00");
    bytes.extend(tag.to_le_bytes());
    bytes.extend([1, 0]);
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * u32::from(bits / 8)).to_le_bytes());
    bytes.extend((bits / 8).to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// WAV of `count` samples of 32-bit floating point, every second of them `value`.
pub fn float_wav(rate: u32, value: f32, count: usize) -> Vec<u8> {
    let samples = (0..count).flat_map(|at| if at % 2 == 0 { 0.5 } else { value }.to_le_bytes());
    pcm_wav(rate, 32, 3, &samples.collect::<Vec<u8>>())
}

/// An EBML element with a length of eight bytes.
fn element(id: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64 | 1 << 56).to_be_bytes();
    [id, &length, payload].concat()
}

fn matroska(codec: &[u8], private: &[u8], rate: f64, clusters: &[Vec<u8>]) -> Vec<u8> {
    let header = [element(b"\x42\x82", b"matroska"), element(b"\x42\x87", &[4]), element(b"\x42\x85", &[2])];
    let audio = [element(b"\xb5", &rate.to_be_bytes()), element(b"\x9f", &[1]), element(b"\x62\x64", &[16])];
    let track = [
        element(b"\xd7", &[1]),
        element(b"\x73\xc5", &[1]),
        element(b"\x83", &[2]),
        element(b"\x86", codec),
        element(b"\x63\xa2", private),
        element(b"\xe1", &audio.concat()),
    ];
    let information = [
        element(b"\x2a\xd7\xb1", &1_000_000_u32.to_be_bytes()),
        element(b"\x4d\x80", b"by hand"),
        element(b"\x57\x41", b"by hand"),
    ]
    .concat();
    let segment = [
        element(b"\x15\x49\xa9\x66", &information),
        element(b"\x16\x54\xae\x6b", &element(b"\xae", &track.concat())),
        clusters.concat(),
    ];
    [element(b"\x1a\x45\xdf\xa3", &header.concat()), element(b"\x18\x53\x80\x67", &segment.concat())].concat()
}

/// A cluster at `at_ms` with these packets, 120 ms apart.
fn cluster(at_ms: u64, packets: &[&[u8]]) -> Vec<u8> {
    let mut payload = element(b"\xe7", &at_ms.to_be_bytes());
    for (packet, number) in packets.iter().zip(0_u16..) {
        let block = [&[0x81][..], &(number * 120).to_be_bytes(), &[0x80], packet].concat();
        payload.extend(element(b"\xa3", &block));
    }
    element(b"\x1f\x43\xb6\x75", &payload)
}

/// Opus in Matroska: `count` times a fifth of a second, three hours apart.
pub fn matroska_with_holes(count: u64) -> Vec<u8> {
    const PACKET: &[u8] = &[0b0001_1011, 2];
    let clusters: Vec<_> =
        (0..count).map(|number| cluster(number * 3 * 3_600_000, &[PACKET, PACKET, PACKET])).collect();
    matroska(b"A_OPUS", OPUS_HEAD, 48_000.0, &clusters)
}

/// PCM of 16 bit in Matroska: a single packet of half a million samples at `rate`.
pub fn matroska_slow(rate: u32) -> Vec<u8> {
    matroska(b"A_PCM/INT/LIT", &[], f64::from(rate), &[cluster(0, &[&vec![0; 1_000_000]])])
}
