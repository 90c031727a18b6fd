//! Rules: what keeps processes coherent that share a lower tier, each with a switch.
//!
//! The switches exist in tests only. The `simulation` turns one off and has to find a run in
//! which somebody is served what he must not be: so it is known that it would notice, and that the rule is needed.
//! `NOT_BY_SEEDS` there names the one that no run can find, and what tries it instead.

macro_rules! rules {
    ($($(#[doc = $text:literal])+ $(#[cfg($($cfg:tt)+)])? $name:ident,)+) => {
        /// A rule that the code asks for where it is kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Rule {
            $($(#[doc = $text])+ $(#[cfg($($cfg)+)])? $name,)+
        }

        #[cfg(all(test, not(shuttle)))]
        impl Rule {
            pub(crate) const ALL: &[Rule] = &[$($(#[cfg($($cfg)+)])? Rule::$name,)+];
        }
    };
}

rules! {
    /// Each look into memory compares trust with the time.
    TrustIsComparedAtHits,
    /// Trust lasts from the sending of the call that renews it, not from its answer.
    TrustLastsFromSending,
    /// Nothing is kept in memory before the first renewal: until then no purge waits for this cache.
    NothingIsKeptBeforeTheFirstRenewal,
    /// Without trust, only what was fetched lately is used.
    IsolationIsBounded,
    /// How lately counts from the beginning of the fetch, not from its end.
    IsolationCountsFromTheBeginning,
    /// Without trust, a reader shares no fetch that began before it asked.
    WithoutTrustNoEarlierFetchIsShared,
    /// What has been read of the log is purged in memory before it is said to be done.
    DoneIsSaidWhenItIsDone,
    /// Purges that the log has forgotten purge all memory.
    GapPurgesMemory,
    /// So does another log.
    AnotherLogPurgesMemory,
    /// An answer that is perhaps from a log that has ended is not learnt from.
    EndedLogsAreIgnored,
    /// Own purges that the tier has not acknowledged are judged by.
    OutboxJudges,
    /// A purge that could not be sent is sent again until the tier has it.
    FailedPurgesAreSentAgain,
    /// A purge is folded into another only where that was not sent: what was may be in the log, before what is named now.
    OnlyTheUnsentIsFoldedInto,
    /// What is written carries the position at which its fetch began.
    WrittenWithTheFenceOfItsFetch,
    /// What was found below is judged again once purges reach its flight.
    FoundIsJudgedWithinReach,
    /// A purge waits until all who read the tier have said that it holds.
    HoldsWaitsForAll,
    /// If they do not, it waits until they can no longer go by what they know.
    LapsesWithTimeOnly,
    /// Among all processes one fetches.
    OneHasTheLease,
    /// What is known of purges together is a gap in what memory was told one by one.
    FoldedIsAGap,
    /// A record of another log, or from beyond what was read, is not believed.
    OnlyThisLogIsRead,
    /// Nor is one from before purges that nobody knows any more.
    TheFloorIsKept,
    /// What no replica is known to have stays in the outbox's file.
    TheUnreplicatedStaysOnDisk,
    /// A replica says whether it has a purge.
    #[cfg(feature = "redis")]
    ReplicasAreAsked,
    /// No purge is said to hold while others may not have heard of a server that has changed.
    #[cfg(feature = "redis")]
    ReceiptsWaitAfterAChange,
    /// Bytes are read only where they are what was written there.
    #[cfg(feature = "redis")]
    BytesAreChecked,
    /// What a server says of the time is as old as the question: the way of the answer makes records older, never younger.
    #[cfg(feature = "redis")]
    TheWayMakesOlder,
    /// A server that has lost purges is told them by who has seen them.
    #[cfg(feature = "redis")]
    LostIsToldAgain,
    /// It is told them also after its log has opened again.
    #[cfg(feature = "redis")]
    ForksAreToldOfAgain,
    /// Who may have forgotten some of them says so.
    #[cfg(feature = "redis")]
    WhoForgotDoesNotSign,
    /// A log that has ended is not gone by if a server comes back with it.
    #[cfg(feature = "redis")]
    EndedLogsDoNotComeBack,
    /// A server that is another one is found out. The scripts keep this and what follows.
    #[cfg(all(test, feature = "redis"))]
    ForksAreFoundOut,
    /// After that it gives no number twice.
    #[cfg(all(test, feature = "redis"))]
    NoNumberIsGivenTwice,
    /// Its log opens when all have signed who may know of a purge that it has lost.
    #[cfg(all(test, feature = "redis"))]
    AllWhoMayKnowSign,
    /// A purge in the log names the one before it: what is missing between them is a gap.
    #[cfg(all(test, feature = "redis"))]
    EachNamesTheOneBefore,
}

impl Rule {
    /// Whether it is kept: always, but where a test has turned it off.
    #[cfg(not(all(test, not(shuttle))))]
    #[inline(always)]
    pub(crate) fn holds(self) -> bool {
        true
    }

    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn holds(self) -> bool {
        switch::OFF.get() != Some(self)
    }
}

#[cfg(all(test, not(shuttle)))]
mod switch {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        pub(super) static OFF: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// While this is there, a rule is not kept in this thread.
    pub(crate) struct Off(());

    impl Rule {
        pub(crate) fn turn_off(self) -> Off {
            OFF.set(Some(self));
            Off(())
        }
    }

    impl Drop for Off {
        fn drop(&mut self) {
            OFF.set(None);
        }
    }
}
