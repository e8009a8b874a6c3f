//! Models of the piles on depots, which what is known of drops lets grow.

use super::*;

/// A depot without a place left, that may pile up what comes.
fn fill_places(model: &Model, class: SizeClass) {
    let alone: Vec<Blocks> = (0..DEPOT_MAGAZINES).map(|_| model.refill(class, 1)).collect();
    alone.into_iter().for_each(|block| model.flush(class, block));
    model.heap.lock(Shard::FIRST, class).swing.allow(100);
    model.heap.allowed_bytes.store(100 * class.bytes(), Ordering::Relaxed);
}

#[test]
fn magazines_change_hands_through_a_pile() {
    explore("pile", || {
        let (model, class) = (Model::new(), one_class());
        let magazines = [8, 3].map(|most| model.refill(class, most));
        fill_places(&model, class);
        magazines.into_iter().for_each(|blocks| model.flush(class, blocks));
        assert_eq!(model.heap.lock(Shard::FIRST, class).depot.piled(), 11);
        let threads = [3, 5].map(|most| {
            let model = model.clone();
            spawn(move || {
                let blocks = model.refill(class, most);
                model.flush(class, blocks);
            })
        });
        threads.into_iter().for_each(join);
        model.assert_all_is_back();
    });
}

#[test]
fn a_pile_shrinks_while_others_use_it() {
    explore("shrinking pile", || {
        let (model, class) = (Model::new(), one_class());
        let magazines = [8, 4, 2].map(|most| model.refill(class, most));
        fill_places(&model, class);
        magazines.into_iter().for_each(|blocks| model.flush(class, blocks));
        assert_eq!(model.heap.lock(Shard::FIRST, class).depot.piled(), 14);
        let thread = {
            let model = model.clone();
            spawn(move || {
                let blocks = model.refill(class, 8);
                model.flush(class, blocks);
            })
        };
        assert!(model.heap.shrink_pile(Shard::FIRST, class, 1) > 0);
        let blocks = model.refill(other_class(), 8);
        model.give_back(other_class(), blocks);
        join(thread);
        model.assert_all_is_back();
    });
}
