//! Stage: what the console's Theatre may do here: send a crowd, cut the shared tier off, and slow the posts service.

use futures_util::FutureExt;
use larder_admin::{
    Problem,
    stage::{Crowd, CrowdAnswer, CrowdOffer, Crowds, SentCrowd, Stage, Verdict},
};

use crate::{
    backend::{
        breakable::Breaker,
        posts_client::{self, PostsClient},
    },
    crowd::{Handling, MAX_READERS, Seen, read},
    posts::Delay,
    settings::BaseUrl,
};

/// What the acts are done to.
pub(crate) struct Props {
    /// The backend, as this process reaches it.
    pub(crate) backend: BaseUrl,
    /// Of the posts service, where that is of this process and the one that the backend asks.
    pub(crate) posts_delay: Option<Delay>,
}

/// Where the backend asks `posts`; with the shared tier, if there is one, and what it is called.
pub(super) fn stage(props: Props, posts: PostsClient, shared: Option<(String, Breaker)>) -> Stage {
    let stage = Stage::new().crowds(Readers { backend: props.backend, posts });
    let stage = match shared {
        None => stage,
        Some((place, breaker)) => {
            let told = breaker.clone();
            stage.break_shared(place, move || told.is_broken(), move |on| breaker.set(on))
        }
    };
    match props.posts_delay {
        None => stage,
        Some(delay) => {
            let budget = posts_client::BUDGET.as_secs();
            let says =
                format!("The backend waits {budget} s for the posts service, then gives up.");
            let told = delay.clone();
            stage.slow_origin(says, move || told.get(), move |now| delay.set(now))
        }
    }
}

/// Readers of the backend, each with a connection of its own.
struct Readers {
    backend: BaseUrl,
    /// Whom the backend asks.
    posts: PostsClient,
}

impl Crowds for Readers {
    fn offer(&self) -> CrowdOffer {
        CrowdOffer {
            at: self.backend.as_str().to_owned(),
            path: "/api/posts/1".to_owned(),
            takes_host: false,
            most: MAX_READERS,
        }
    }

    fn send(&self, crowd: &Crowd) -> Result<SentCrowd, Problem> {
        let uri = self.backend.join(crowd.path.as_str());
        let reader = |_| read(uri.clone()).map(|seen| seen.map(answer)).boxed();
        let (posts, before) = (self.posts.clone(), self.posts.calls());
        Ok(SentCrowd {
            answers: (0..crowd.requests).map(reader).collect(),
            // Those of other readers meanwhile are among them.
            origin_calls: Some(Box::new(move || posts.calls() - before)),
        })
    }
}

fn answer(seen: Seen) -> CrowdAnswer {
    let verdict = match seen.handling {
        Handling::Hit => Verdict::Hit,
        Handling::Stale => Verdict::Stale,
        Handling::Miss => Verdict::Miss,
        Handling::Collapsed => Verdict::Collapsed,
        Handling::Pass => Verdict::Pass,
        Handling::Unsaid => Verdict::Refused,
    };
    CrowdAnswer { verdict, status: seen.status }
}
