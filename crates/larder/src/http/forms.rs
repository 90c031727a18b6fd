//! Forms: the coded forms of a stored response, which lie beside it, and which of them answers a request.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::{HeaderMap, HeaderValue, header::VARY};
use larder_policy::{
    coding::{Accepted, Coding},
    compression::{Compression, RulesMark, forbids_transforming, says_vary},
    fields::Fields,
    stored::StoredHead,
};

use super::{body::stored::StoredBody, stored::Stored, variants::StoredVariant};

/// The forms of a response that were made. They go with it: a purge, an eviction or another response in its place
/// leaves none of them behind.
#[derive(Clone, Debug)]
pub(crate) struct Forms {
    made: Box<[Form]>,
    /// Whether its bytes become much less by coding.
    is_worth_it: bool,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) coding: Coding,
    /// What tells its bytes from others.
    digest: u64,
    pub(crate) stored: Arc<Stored>,
}

impl Form {
    /// The form of a response whose coded bytes these are. `None`: it can have none.
    pub(crate) fn of(plain: &Stored, coded: Coded) -> Option<Form> {
        let Coded { coding, digest, body } = coded;
        let head = plain.head.coded(coding, digest, body.len())?;
        let stored = Stored::new(head, body, plain.asked_at);
        Some(Form { coding, digest, stored: Arc::new(stored) })
    }
}

/// The bytes of a response in a coding.
#[derive(Clone, Debug)]
pub(crate) struct Coded {
    pub(crate) coding: Coding,
    pub(crate) digest: u64,
    pub(crate) body: StoredBody,
}

impl Forms {
    /// Of a response whose bytes coding makes little less.
    pub(crate) fn not_worth_it() -> Forms {
        Forms { made: Box::default(), is_worth_it: false }
    }

    /// These and one more.
    pub(crate) fn with(forms: Option<&Forms>, form: Form) -> Forms {
        let before = forms.map_or(&[][..], |forms| &forms.made);
        let others = before.iter().filter(|other| other.coding != form.coding).cloned();
        Forms { made: others.chain([form.clone()]).collect(), is_worth_it: true }
    }

    /// The same bytes for a response with another head: the origin has confirmed it.
    pub(crate) fn under(&self, plain: &Stored) -> Forms {
        let coded = |form: &Form| {
            let Form { coding, digest, stored } = form;
            let coded = Coded { coding: *coding, digest: *digest, body: stored.body.clone() };
            Form::of(plain, coded)
        };
        Forms { made: self.made.iter().filter_map(coded).collect(), ..*self }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Form> {
        self.made.iter()
    }

    pub(crate) fn get(&self, coding: Coding) -> Option<&Arc<Stored>> {
        let form = self.made.iter().find(|form| form.coding == coding)?;
        Some(&form.stored)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let counts = 2 * size_of::<usize>();
        size_of::<Forms>()
            + counts
            + size_of_val(&*self.made)
            + self.made.iter().map(|form| form.stored.heap_bytes()).sum::<usize>()
    }
}

/// What the rules make of a stored response, as far as its head tells: found once, and again where other rules are
/// asked.
#[derive(Debug, Default)]
pub(crate) struct CodingVerdict(AtomicU64);

impl CodingVerdict {
    const HAS_FORMS: u64 = 1;
    const SAYS_VARY: u64 = 2;

    fn of(&self, rules: &Compression, head: &StoredHead) -> u64 {
        let (known, mark) = (self.0.load(Ordering::Relaxed), rules.mark());
        if (known >> RulesMark::BITS) as RulesMark == mark { known } else { self.find(rules, head) }
    }

    #[cold]
    fn find(&self, rules: &Compression, head: &StoredHead) -> u64 {
        let mut verdict = u64::from(rules.mark()) << RulesMark::BITS;
        if rules.may_code(head) {
            verdict |= CodingVerdict::HAS_FORMS;
        }
        if says_vary(head.fields()) {
            verdict |= CodingVerdict::SAYS_VARY;
        }
        self.0.store(verdict, Ordering::Relaxed);
        verdict
    }

    /// Whether a response with this head may have coded forms.
    pub(crate) fn has_forms(&self, rules: &Compression, head: &StoredHead) -> bool {
        self.of(rules, head) & CodingVerdict::HAS_FORMS != 0
    }

    /// Whether its plain form has to say that there may be others, which its origin has not said.
    pub(crate) fn lacks_vary(&self, rules: &Compression, head: &StoredHead) -> bool {
        let verdict = self.of(rules, head);
        verdict & CodingVerdict::HAS_FORMS != 0 && verdict & CodingVerdict::SAYS_VARY == 0
    }
}

/// The form that answers a request.
pub(crate) struct Chosen<'a> {
    /// `None`: the response as it came.
    pub(crate) form: Option<&'a Arc<Stored>>,
    /// A form that is to be made.
    pub(crate) wanted: Option<Coding>,
    pub(crate) accepted: Accepted,
}

/// Chooses among the forms of a response that may have some.
pub(crate) fn choose<'a>(
    rules: &Compression,
    request: Fields<'_>,
    variant: &'a StoredVariant,
) -> Chosen<'a> {
    let mut accepted = Accepted::of(request);
    if forbids_transforming(request) {
        accepted = Accepted::PLAIN;
    }
    let forms = variant.forms();
    let form = |coding| forms.and_then(|forms| forms.get(coding));
    let choice = rules.choose(accepted, |coding| form(coding).is_some());
    let is_worth_it = forms.is_none_or(|forms| forms.is_worth_it)
        && rules.takes_length(variant.stored.body.len());
    Chosen {
        form: choice.served.and_then(form),
        wanted: choice.wanted.filter(|_| is_worth_it),
        accepted,
    }
}

/// Says in an answer made from a response with this head that there may be other forms of it, if there may, in all
/// that readers are given of it: whoever keeps the answer must know.
pub(crate) fn tell_of_forms(rules: &Compression, head: &StoredHead, headers: &mut HeaderMap) {
    if rules.may_code(head) && !says_vary(&*headers) {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}
