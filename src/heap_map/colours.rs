//! The colour of each size class, on a scale that gets lighter from the smallest blocks to the
//! largest, so that it keeps its order without hues, too: in print, and for whoever does not see all
//! of them.
#![forbid(unsafe_code)]

use core::fmt::{self, Display, Formatter};

use static_assertions::const_assert;

use crate::config::CLASS_COUNT;

/// What a colour is made of: red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour(pub(super) [u8; 3]);

impl Display for Colour {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self([red, green, blue]) = self;
        write!(formatter, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// Places on the scale "plasma" (Smith and van der Walt, 2015), whose steps look equal, without its
/// last fifth, which is too light on white.
const STOPS: [[u8; 3]; 9] = [
    [0x17, 0x0a, 0x8c],
    [0x46, 0x03, 0x9f],
    [0x6a, 0x00, 0xa8],
    [0x8f, 0x0d, 0xa4],
    [0xb1, 0x2a, 0x90],
    [0xcc, 0x47, 0x78],
    [0xe1, 0x64, 0x62],
    [0xf2, 0x84, 0x4b],
    [0xfc, 0xa6, 0x36],
];

/// Places that each doubling of the size has on the scale. Doublings are equally long, since most
/// blocks of most programs are small: 16 and 32 bytes must not look the same for the sake of 496 and 512.
const PLACES_PER_DOUBLING: usize = CLASS_COUNT;

/// The last place, that of the largest class.
const PLACE_MAX: usize = place_of(CLASS_COUNT);

const_assert!(CLASS_COUNT.is_power_of_two());

/// Where a class is on the scale, by its number from 1 on: equal steps between one doubling and the
/// next.
pub(super) const fn place_of(number: usize) -> usize {
    let doublings = match number.checked_ilog2() {
        Some(doublings) => doublings,
        None => return 0,
    };
    let behind = number - (1 << doublings);
    doublings as usize * PLACES_PER_DOUBLING + ((behind * PLACES_PER_DOUBLING) >> doublings)
}

const OF_CLASSES: [Colour; CLASS_COUNT] = of_classes();

const fn of_classes() -> [Colour; CLASS_COUNT] {
    let mut colours = [Colour([0; 3]); CLASS_COUNT];
    let mut index = 0;
    while index < CLASS_COUNT {
        let way = place_of(index + 1) * (STOPS.len() - 1);
        // The last one is reached from the stop before it.
        let stop =
            if way == PLACE_MAX * (STOPS.len() - 1) { STOPS.len() - 2 } else { way / PLACE_MAX };
        let gone = way - stop * PLACE_MAX;
        let mut part = 0;
        while part < 3 {
            let (from, to) = (STOPS[stop][part] as usize, STOPS[stop + 1][part] as usize);
            colours[index].0[part] = ((from * (PLACE_MAX - gone) + to * gone) / PLACE_MAX) as u8;
            part += 1;
        }
        index += 1;
    }
    colours
}

/// The colour of the class with this number, from 1 to 64.
pub(super) fn of_class(number: u8) -> Colour {
    let colour = OF_CLASSES.get(usize::from(number).wrapping_sub(1));
    colour.copied().unwrap_or(Colour([0x80; 3]))
}
