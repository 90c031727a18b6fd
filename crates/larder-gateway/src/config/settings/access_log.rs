//! The check of what is logged of requests, and where.

use std::path::{Path, PathBuf};

use super::check::{Check, bytes};
use crate::{
    access::{AccessLogConfig, Destination},
    config::parts::AccessLogPart,
};

/// Several lines, each as long as a request's head may be by default, have room in it.
const SMALLEST_BUFFER: u64 = 64 << 10;
const LARGEST_BUFFER: u64 = 1 << 30;

impl Check<'_> {
    pub(super) fn access_log(&mut self, part: &AccessLogPart) -> Option<AccessLogConfig> {
        let AccessLogPart { to, format, sample, query, addresses, buffer } = part;
        let sample = self.share("access_log.sample", *sample, 1.0);
        if let Some(size) = buffer {
            if size.0.as_u64() < SMALLEST_BUFFER {
                self.note("access_log.buffer", "that is too little for long lines: at least 64KiB");
            } else if size.0.as_u64() > LARGEST_BUFFER {
                self.note("access_log.buffer", "that lies in memory: at most 1GiB");
            }
        }
        let Some(to) = to else {
            let others = [
                ("format", format.is_some()),
                ("sample", part.sample.is_some()),
                ("query", query.is_some()),
                ("addresses", addresses.is_some()),
                ("buffer", buffer.is_some()),
            ];
            if let Some((key, _)) = others.into_iter().find(|(_, is_said)| *is_said) {
                let what = "there is no access log until to says where lines go";
                self.note(&format!("access_log.{key}"), what);
            }
            return None;
        };
        let to = match to.as_str() {
            "stdout" => Destination::Stdout,
            path => Destination::File(self.file_to_write("access_log.to", path)),
        };
        let usual = AccessLogConfig::to(to);
        Some(AccessLogConfig {
            format: format.unwrap_or_default().into(),
            sample,
            query: query.unwrap_or_default().into(),
            addresses: addresses.unwrap_or_default().into(),
            buffer_bytes: buffer.as_ref().map_or(usual.buffer_bytes, bytes),
            ..usual
        })
    }

    /// A file that need not be there, in a folder that has to.
    fn file_to_write(&mut self, path: &str, said: &str) -> PathBuf {
        let file = self.places.resolve(path, Path::new(said));
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if said.is_empty() || file.is_dir() {
            self.note(path, "say \"stdout\", or a file");
        } else if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            self.note(path, format!("there is no folder {}", folder.display()));
        }
        file
    }
}
