//! The search with AVX2, 32 places at a time.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_blendv_epi8, _mm256_broadcastsi128_si256,
    _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16,
};

use super::fingerprint::{ADMITTED, ANYTHING, Keyword, Set, WIDTH};
use super::plain::BEGINNINGS;
use super::search::{candidates, verify};

/// How many places are looked at at once, and the bytes that this takes.
const PLACES: usize = 32;
const BLOCK: usize = PLACES + WIDTH - 1;

/// [`super::search::search`]; nothing where the machine has no AVX2.
#[inline]
pub(super) fn search(
    text: &[u8],
    wanted: Set,
    visit: &mut impl FnMut(usize, &'static Keyword) -> Set,
) -> Option<(Set, bool)> {
    if !std::is_x86_feature_detected!("avx2") {
        return None;
    }
    let mut search = Search {
        text,
        wanted,
        visit,
        may_change: false,
    };
    // SAFETY: what it needs is there.
    unsafe { search.run() };
    Some((search.wanted, search.may_change))
}

struct Search<'a, Visit> {
    text: &'a [u8],
    wanted: Set,
    visit: &'a mut Visit,
    may_change: bool,
}

impl<Visit: FnMut(usize, &'static Keyword) -> Set> Search<'_, Visit> {
    #[target_feature(enable = "avx2")]
    fn run(&mut self) {
        let mut padded = [0; BLOCK];
        for at in (0..self.text.len()).step_by(PLACES) {
            let rest = &self.text[at..];
            let block = rest.first_chunk().unwrap_or_else(|| {
                padded = [0; BLOCK];
                padded[..rest.len()].copy_from_slice(rest);
                &padded
            });
            self.block(at, block);
            if self.wanted == 0 {
                return;
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn block(&mut self, at: usize, block: &[u8; BLOCK]) {
        let mut places = passing(block);
        while places != 0 {
            let place = places.trailing_zeros() as usize;
            places &= places - 1;
            let letters = |nth: usize| candidates(block[place + nth])[nth];
            let found = letters(0) & letters(1) & letters(2) & letters(3) & self.wanted;
            if found != 0 {
                self.wanted = verify(self.text, at + place, found, self.wanted, self.visit);
            }
        }
        if _mm256_movemask_epi8(load(block, 0)) != 0 {
            self.may_change |= may_change(block);
        }
    }
}

/// Whether the bytes of a character that lowers into ASCII may begin in a block.
#[inline]
#[target_feature(enable = "avx2")]
fn may_change(block: &[u8; BLOCK]) -> bool {
    let (first, second) = (load(block, 0), load(block, 1));
    let is = |bytes, byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()));
    let [one, other] = BEGINNINGS
        .map(|beginning| _mm256_and_si256(is(first, beginning[0]), is(second, beginning[1])));
    _mm256_movemask_epi8(_mm256_or_si256(one, other)) != 0
}

/// The places at which the fingerprint of a keyword may begin, as bits.
#[inline]
#[target_feature(enable = "avx2")]
fn passing(block: &[u8; BLOCK]) -> u32 {
    let mut passing = _mm256_set1_epi8(-1);
    for place in 0..WIDTH {
        let bytes = load(block, place);
        // By the lower four bits of a byte; where the highest is set, it is not ASCII, to zero.
        let [without, with] = &ADMITTED[place];
        let without = _mm256_shuffle_epi8(table(without), bytes);
        let with = _mm256_shuffle_epi8(table(with), bytes);
        // The fifth bit becomes the highest of its byte, by which one of the two is chosen.
        let admitted = _mm256_blendv_epi8(without, with, _mm256_slli_epi16::<3>(bytes));
        let anything = _mm256_set1_epi8(ANYTHING[place].cast_signed());
        passing = _mm256_and_si256(passing, _mm256_or_si256(admitted, anything));
    }
    let failing = _mm256_cmpeq_epi8(passing, _mm256_setzero_si256());
    !_mm256_movemask_epi8(failing).cast_unsigned()
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(block: &[u8; BLOCK], from: usize) -> __m256i {
    let bytes: &[u8; 32] = block[from..].first_chunk().unwrap_or(&[0; 32]);
    // SAFETY: it reads 32 bytes that are borrowed, and they may lie anywhere.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Sixteen bytes, twice.
#[inline]
#[target_feature(enable = "avx2")]
fn table(bytes: &[u8; 16]) -> __m256i {
    // SAFETY: it reads 16 bytes that are borrowed, and they may lie anywhere.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}
