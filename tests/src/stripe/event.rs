//! The envelope around an object.

use serde_json::{Value, json};

use super::{ApiVersion, SAMPLE_TIME};

/// An event with its object.
#[derive(Clone, Debug)]
pub struct Event {
    /// `id`, such as `evt_1`.
    pub id: String,
    /// `type`, such as `invoice.paid`.
    pub kind: String,
    /// `account`: the connected account; none for the platform's own events.
    pub account: Option<String>,
    /// `created`, in seconds since 1970.
    pub created: i64,
    /// `api_version`.
    pub version: ApiVersion,
    /// `livemode`.
    pub livemode: bool,
    /// `data.object`.
    pub object: Value,
    /// `data.previous_attributes`, where there are any.
    pub previous_attributes: Option<Value>,
    /// `pending_webhooks`: differs between two deliveries of one event.
    pub pending_webhooks: u32,
    /// `request`.
    pub request: Value,
}

impl Event {
    /// A test-mode event of the platform, made at [`SAMPLE_TIME`]. An update of an
    /// invoice says what it was before, as Stripe's do: without the id. What an
    /// account was before matters, so that whoever makes its update says it.
    #[must_use]
    pub fn new(id: &str, kind: &str, object: Value) -> Self {
        let before = json!({ "status": "draft", "total": 1, "invoice_pdf": null });
        Self {
            id: id.to_owned(),
            kind: kind.to_owned(),
            account: None,
            created: SAMPLE_TIME,
            version: ApiVersion::default(),
            livemode: false,
            object,
            previous_attributes: (kind == "invoice.updated").then_some(before),
            pending_webhooks: 1,
            request: json!({ "id": null, "idempotency_key": null }),
        }
    }

    /// The same event of a connected account.
    #[must_use]
    pub fn of_account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    /// The same event made at another time (seconds since 1970).
    #[must_use]
    pub fn at(mut self, created: i64) -> Self {
        self.created = created;
        self
    }

    /// The event as it is sent. One of the API's second version is thin: it names its account
    /// and holds no object.
    #[must_use]
    pub fn value(&self) -> Value {
        if let (true, Some(account)) = (self.kind.starts_with("v2."), &self.account) {
            return thin(&self.id, &self.kind, account, self.created);
        }
        let mut event = json!({
            "id": self.id,
            "object": "event",
            "api_version": self.version.name(),
            "created": self.created,
            "data": { "object": self.object },
            "livemode": self.livemode,
            "pending_webhooks": self.pending_webhooks,
            "request": self.request,
            "type": self.kind,
        });
        if let Some(account) = &self.account {
            event["account"] = account.as_str().into();
        }
        if let Some(previous) = &self.previous_attributes {
            event["data"]["previous_attributes"] = previous.clone();
        }
        event
    }

    /// The bytes of a delivery; Stripe indents them.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        to_bytes(&self.value())
    }
}

/// A thin event, which names an object and does not hold it: the account stands
/// in `context`, the time is text.
#[must_use]
pub fn thin_event(id: &str, kind: &str, account: &str) -> Vec<u8> {
    to_bytes(&thin(id, kind, account, SAMPLE_TIME))
}

fn thin(id: &str, kind: &str, account: &str, created: i64) -> Value {
    json!({
        "id": id,
        "object": "v2.core.event",
        "type": kind,
        "created": text_time(created),
        "context": account,
        "livemode": false,
        "reason": null,
        "related_object": {
            "id": account,
            "type": "v2.core.account",
            "url": format!("/v2/core/accounts/{account}"),
        },
    })
}

fn to_bytes(value: &Value) -> Vec<u8> {
    format!("{value:#}").into_bytes()
}

/// A text of the second version's times, such as `2026-10-28T10:00:00.000Z`.
#[must_use]
pub fn text_time(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400);
    let rest = seconds.rem_euclid(86_400);
    // The civil date of a number of days, after Howard Hinnant.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

#[cfg(test)]
mod tests {
    use super::{SAMPLE_TIME, text_time};

    #[test]
    fn times_are_texts_in_the_second_version() {
        assert_eq!(text_time(SAMPLE_TIME), "2025-10-09T08:53:20.000Z");
        assert_eq!(text_time(951_782_400), "2000-02-29T00:00:00.000Z");
    }
}
