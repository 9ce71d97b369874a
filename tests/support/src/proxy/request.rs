//! The parts of a request to the Kubernetes API, by its method and path.

use hyper::{Method, Uri};

/// A request in the terms of Kubernetes. A field is empty if the path does not contain it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRequest {
    /// The HTTP method.
    pub method: String,
    /// The path and the query.
    pub path: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// The API group, empty for the core group.
    pub group: String,
    /// For example `secrets`.
    pub resource: String,
    /// For example `status`.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The object's name from the path, which is empty for a creation.
    pub name: String,
}

impl ApiRequest {
    pub(super) fn new(method: &Method, uri: &Uri) -> Self {
        let mut parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
        // /api/v1/… or /apis/GROUP/VERSION/…
        let (group, prefix) = match parts.as_slice() {
            ["apis", group, _, ..] => (*group, 3),
            _ => ("", 2),
        };
        parts.drain(..prefix.min(parts.len()));
        let mut namespace = "";
        // `namespaces/NAME` alone, or with a subresource of namespaces, is the namespace itself.
        if let ["namespaces", name, resource, ..] = parts.as_slice()
            && !matches!(*resource, "status" | "finalize")
        {
            namespace = name;
            parts.drain(..2);
        }
        let part = |index: usize| parts.get(index).copied().unwrap_or_default();
        let named = !part(1).is_empty();
        let watch =
            uri.query().unwrap_or_default().split('&').any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"));
        let verb = match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if named => "delete",
            Method::DELETE => "deletecollection",
            _ if watch => "watch",
            _ if named => "get",
            _ => "list",
        };
        Self {
            method: method.to_string(),
            path: uri.to_string(),
            verb,
            group: group.to_owned(),
            resource: part(0).to_owned(),
            subresource: part(2).to_owned(),
            namespace: namespace.to_owned(),
            name: part(1).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(method: Method, path: &str) -> [String; 6] {
        let request = ApiRequest::new(&method, &path.parse().unwrap());
        let ApiRequest { verb, group, resource, subresource, namespace, name, .. } = request;
        [verb.to_owned(), group, namespace, resource, name, subresource]
    }

    #[test]
    fn a_path_and_a_method_become_a_kubernetes_request() {
        for (method, path, expected) in [
            (Method::GET, "/api/v1/secrets", ["list", "", "", "secrets", "", ""]),
            (Method::GET, "/api/v1/secrets?limit=5&watch=true", ["watch", "", "", "secrets", "", ""]),
            (Method::POST, "/api/v1/namespaces/a/secrets?dryRun=All", ["create", "", "a", "secrets", "", ""]),
            (Method::PUT, "/api/v1/namespaces/a/secrets/b", ["update", "", "a", "secrets", "b", ""]),
            (
                Method::PATCH,
                "/apis/g.dev/v1/namespaces/a/things/b/status",
                ["patch", "g.dev", "a", "things", "b", "status"],
            ),
            (
                Method::DELETE,
                "/apis/g.dev/v1/namespaces/a/things",
                ["deletecollection", "g.dev", "a", "things", "", ""],
            ),
            (Method::DELETE, "/api/v1/namespaces/a", ["delete", "", "", "namespaces", "a", ""]),
            (Method::PUT, "/api/v1/namespaces/a/finalize", ["update", "", "", "namespaces", "a", "finalize"]),
            (Method::GET, "/readyz", ["list", "", "", "", "", ""]),
        ] {
            assert_eq!(words(method, path), expected, "{path}");
        }
    }
}
