use super::testing::made_up;
use super::*;

#[test]
fn an_unused_heap_has_its_classes_and_nothing_else() {
    let stats = Stats::new();
    for (index, class) in stats.classes.iter().enumerate() {
        assert_eq!(*class, ClassStats::of_bytes(8 * (index + 1)));
        assert!(!class.is_present());
    }
    let all = [
        stats.arena_bytes(),
        stats.used_bytes(),
        stats.cached_bytes(),
        stats.free_bytes(),
        stats.unused_pool_bytes(),
        stats.header_bytes(),
        stats.quantization_bytes(),
    ];
    assert_eq!(all, [0; 7]);
    assert!(stats.is_balanced());
}

#[test]
fn bytes_are_blocks_of_the_size_of_their_class() {
    let stats = made_up();
    assert_eq!(stats.arena_bytes(), 3 * 262_144);
    assert_eq!(stats.used_bytes(), 512 * 8 + 97 * 48 + 3 * 512);
    assert_eq!(stats.cached_bytes(), 20 * 48 + 512);
    assert_eq!(stats.free_bytes(), 53 * 48 + 4 * 512);
    assert_eq!(stats.unused_pool_bytes(), 185 * 4096);
    assert_eq!(stats.header_bytes(), 3 * 4096);
    assert_eq!(stats.quantization_bytes(), 2 * (4096 - 85 * 48));
}

#[test]
fn every_byte_is_of_one_kind() {
    assert!(made_up().is_balanced());
    let changes: [fn(&mut Stats); 6] = [
        |stats| stats.classes[5].used_blocks += 1,
        |stats| stats.classes[5].cached_blocks -= 1,
        |stats| stats.classes[5].free_blocks += 1,
        |stats| stats.classes[5].pools += 1,
        |stats| stats.arenas.unused_pools -= 1,
        |stats| stats.arenas.mapped += 1,
    ];
    for change in changes {
        let mut stats = made_up();
        change(&mut stats);
        assert!(!stats.is_balanced(), "{stats:?}");
    }
}

#[test]
fn what_lies_in_depots_alone_is_present() {
    let mut class = ClassStats::of_bytes(16);
    class.cached_blocks = 1;
    assert!(class.is_present());
    class = ClassStats::of_bytes(16);
    class.pools = 1;
    assert!(class.is_present());
}
