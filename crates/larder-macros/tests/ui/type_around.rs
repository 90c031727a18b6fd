struct Table<T>(T);

impl<T: Clone + larder::Weigh + Default + Send + Sync + 'static> Table<T> {
    #[larder::cached]
    async fn value(id: u32) -> T {
        let _ = id;
        T::default()
    }
}

fn main() {}
