//! Libraries whose functions have symbols: OpenSSL and its forks, `GnuTLS`, rustls; and the few symbols of a Go program
//! that spare a search.

use super::{
    Analysis, Function, Hook, How, Library, Refusal,
    evidence::{self, Evidence},
    image::{Image, Kind, Symbol, Table},
    inner, rustls,
};

/// Functions of one library in one file at most. More than a few copies each (rustls has one per kind of cipher) is no
/// library's.
const FUNCTIONS_MAX: usize = 256;

/// Bytes of names in which a version is looked for while hooks are urgent.
const NAMES_MAX: u64 = 1 << 20;
/// A function that only `BoringSSL` has.
const CUSTOM_VERIFY: &str = "SSL_CTX_set_custom_verify";

/// What is in the names of all symbols that matter: of those of Go and C here, of rustls' there.
const NEEDLES: [&[u8]; 8] = [
    b"SSL_",
    b"BIO_write",
    b"gnutls_",
    b"crypto/tls.",
    b"net/http.(*",
    b"runtime.newproc.func1",
    b"runtime.runqput",
    GO_TEXT,
];
/// What is in the names of versions.
const OPENSSL_VERSION: &[u8] = b"OPENSSL_";
const GNUTLS_VERSION: &[u8] = b"GNUTLS_";
/// Where Go's code begins.
const GO_TEXT: &[u8] = b"runtime.text";

/// A function that a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) function: Function,
    pub(super) address: u64,
    /// 0 where it is not told.
    pub(super) size: u64,
    pub(super) how: How,
}

/// What the symbol tables name.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    openssl: Vec<Located>,
    gnutls: Vec<Located>,
    rustls: Vec<Located>,
    pub(super) go: Vec<Located>,
    /// Address where Go's code begins.
    pub(super) go_text: Option<u64>,
    is_boringssl: bool,
    /// All that is to be hooked was found by name.
    pub(super) is_complete: bool,
    /// The newest symbol versions of OpenSSL and `GnuTLS` that the dynamic table's names tell.
    openssl_version: Option<String>,
    gnutls_version: Option<String>,
}

impl Symbols {
    /// Looks into both tables.
    pub(super) fn collect(image: &Image<'_>) -> Result<Self, Refusal> {
        let mut symbols = Self::default();
        let wanted = Function::ALL.iter().map(|function| function.name()).chain([CUSTOM_VERIFY]);
        image.named(wanted, |symbol| symbols.take(&symbol, How::DynamicSymbols))?;
        // A program that lets others use its OpenSSL (Node.js) has tens of megabytes of further symbols, and no other library.
        if symbols.has_openssl() {
            symbols.is_complete = true;
            // A library's own names are few.
            let names = image.dynamic_names(NAMES_MAX);
            symbols.openssl_version = names.and_then(|names| evidence::newest(&names, OPENSSL_VERSION));
            return Ok(symbols);
        }
        let needles: Vec<&[u8]> = NEEDLES.into_iter().chain(rustls::NEEDLES).collect();
        let with_versions = [needles.as_slice(), &[OPENSSL_VERSION, GNUTLS_VERSION]].concat();
        let take = |symbol: Symbol<'_>| symbols.take(&symbol, How::DynamicSymbols);
        let names = image.symbols(Table::Dynamic, &with_versions, take)?;
        symbols.openssl_version = evidence::newest(names.text(), OPENSSL_VERSION);
        symbols.gnutls_version = evidence::newest(names.text(), GNUTLS_VERSION);
        image.symbols(Table::Full, &needles, |symbol| symbols.take(&symbol, How::SymbolTable))?;
        Ok(symbols)
    }

    /// Whether OpenSSL's ways in and out are both named.
    fn has_openssl(&self) -> bool {
        [Function::SslRead, Function::SslWrite]
            .iter()
            .all(|function| self.openssl.iter().any(|located| located.function == *function))
    }

    /// Whether no library but Go's was named.
    pub(super) fn is_empty(&self) -> bool {
        self.openssl.is_empty() && self.gnutls.is_empty() && self.rustls.is_empty()
    }

    fn take(&mut self, symbol: &Symbol<'_>, how: How) {
        match (symbol.name, symbol.kind) {
            (GO_TEXT, _) => self.go_text = Some(symbol.address),
            (name, Kind::Function) if name == CUSTOM_VERIFY.as_bytes() => self.is_boringssl = true,
            _ => {}
        }
        if symbol.kind != Kind::Function {
            return;
        }
        let name = symbol.name;
        let is_of_go = [&b"crypto/tls."[..], b"net/http.", b"runtime."].iter().any(|begin| name.starts_with(begin));
        let (list, function) = if is_of_go {
            let function = Function::GO.into_iter().find(|function| function.name().as_bytes() == name);
            (&mut self.go, function)
        } else if name.starts_with(b"gnutls_") {
            (&mut self.gnutls, Function::of_c(name))
        } else if name.starts_with(b"_") {
            (&mut self.rustls, rustls::function(name))
        } else {
            (&mut self.openssl, Function::of_c(name))
        };
        let Some(function) = function else { return };
        let is_new = list.len() < FUNCTIONS_MAX
            && list.iter().all(|known| known.address != symbol.address || known.function != function);
        if is_new {
            list.push(Located { function, address: symbol.address, size: symbol.size, how });
        }
    }

    /// An analysis of each library of which enough is there.
    pub(super) fn analyses(&self, image: &Image<'_>, evidence: &Evidence) -> Vec<Analysis> {
        let is_boringssl = self.is_boringssl || evidence.is_boringssl();
        let openssl = if is_boringssl { Library::BoringSsl } else { Library::OpenSsl };
        let openssl_version = evidence.openssl_version().or_else(|| self.openssl_version.clone());
        let found = [
            (openssl, &self.openssl, openssl_version.filter(|_| !is_boringssl)),
            (Library::GnuTls, &self.gnutls, self.gnutls_version.clone()),
            (Library::Rustls, &self.rustls, evidence.rustls_version()),
        ];
        let found = found.into_iter();
        found.filter_map(|(library, located, version)| analysis(image, library, located, version)).collect()
    }
}

fn analysis(image: &Image<'_>, library: Library, located: &[Located], version: Option<String>) -> Option<Analysis> {
    if library == Library::Rustls && !rustls::is_read(version.as_deref()) {
        return None;
    }
    let mut hooks = Vec::new();
    for located in located.iter().chain(&inner::of(image, located)) {
        let function = located.function;
        let Some(offset) = image.code(located.address + inner::skipped(image, located.address)) else { continue };
        hooks.extend(function.moments().iter().map(|&moment| Hook { function, moment, offset }));
    }
    hooks.sort_unstable();
    hooks.dedup();
    let is_dynamic = located.iter().any(|located| located.how == How::DynamicSymbols);
    let how = if is_dynamic { How::DynamicSymbols } else { How::SymbolTable };
    (!hooks.is_empty()).then_some(Analysis { library, version, how, hooks })
}

#[cfg(test)]
mod tests {
    use super::{CUSTOM_VERIFY, Function, NEEDLES};

    #[test]
    fn each_functions_name_has_one_of_the_needles_in_it() {
        // Those of rustls are tested where they are.
        let names = Function::ALL.iter().map(|function| function.name());
        let names = names.filter(|name| {
            !name.starts_with("rustls ") && !name.starts_with("_asyncio.") && !name.contains("_internal")
        });
        for name in names.chain([CUSTOM_VERIFY]) {
            let has = |needle: &[u8]| memchr::memmem::find(name.as_bytes(), needle).is_some();
            assert!(NEEDLES.into_iter().any(has), "{name}");
        }
    }
}
