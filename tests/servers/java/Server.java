import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsParameters;
import com.sun.net.httpserver.HttpsServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.concurrent.Executors;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;

/**
 * A TLS server like most Java programs: the classes of the JDK, and a truststore from a file, PEM or PKCS#12, for the PKIX
 * trust manager. The server reads the truststore again after the real path of the file has changed: a kubelet changes this path.
 *
 * <p>Usage: java Server PORT CERTIFICATE KEY (pem AUTHORITIES | pkcs12 TRUSTSTORE PASSWORD-FILE)
 */
public final class Server {
    private static final char[] NO_PASSWORD = {};

    private Server() {}

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        Truststore truststore = new Truststore(Path.of(args[4]), args[3].equals("pkcs12") ? Path.of(args[5]) : null);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(own(args[1], args[2]).getKeyManagers(), new TrustManager[] {truststore}, null);

        HttpsServer server = HttpsServer.create(new InetSocketAddress("127.0.0.1", port), 128);
        server.setHttpsConfigurator(new HttpsConfigurator(context) {
            @Override
            public void configure(HttpsParameters parameters) {
                SSLParameters ours = getSSLContext().getDefaultSSLParameters();
                ours.setNeedClientAuth(true);
                parameters.setSSLParameters(ours);
            }
        });
        server.createContext("/", exchange -> {
            byte[] hello = "hello\n".getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, hello.length);
            exchange.getResponseBody().write(hello);
            exchange.close();
        });
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
    }

    /** The server's own certificate and key. */
    private static KeyManagerFactory own(String certificate, String key) throws GeneralSecurityException, IOException {
        String base64 = Files.readString(Path.of(key)).replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, NO_PASSWORD);
        try (InputStream chain = Files.newInputStream(Path.of(certificate))) {
            store.setKeyEntry(
                "server",
                KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(base64))),
                NO_PASSWORD,
                CertificateFactory.getInstance("X.509").generateCertificates(chain).toArray(Certificate[]::new));
        }
        KeyManagerFactory factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        factory.init(store, NO_PASSWORD);
        return factory;
    }

    /** Accepts the clients that the PKIX trust manager trusts by the current truststore. */
    private static final class Truststore extends X509ExtendedTrustManager {
        private final Path file;
        private final Path password;
        private Path read;
        private X509ExtendedTrustManager trust;

        Truststore(Path file, Path password) throws CertificateException {
            this.file = file;
            this.password = password;
            present();
        }

        private synchronized X509ExtendedTrustManager present() throws CertificateException {
            try {
                Path real = file.toRealPath();
                if (!real.equals(read)) {
                    trust = make(password == null ? ofPem(real) : ofPkcs12(real));
                    read = real;
                }
                return trust;
            } catch (GeneralSecurityException | IOException error) {
                throw new CertificateException("cannot read the truststore " + file, error);
            }
        }

        private static X509ExtendedTrustManager make(KeyStore store) throws GeneralSecurityException {
            TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
            factory.init(store);
            return (X509ExtendedTrustManager) factory.getTrustManagers()[0];
        }

        private static KeyStore ofPem(Path file) throws GeneralSecurityException, IOException {
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, NO_PASSWORD);
            try (InputStream text = Files.newInputStream(file)) {
                int number = 0;
                for (Certificate certificate : CertificateFactory.getInstance("X.509").generateCertificates(text)) {
                    store.setCertificateEntry("client-" + number++, certificate);
                }
            }
            return store;
        }

        private KeyStore ofPkcs12(Path file) throws GeneralSecurityException, IOException {
            // The password in the folder of the truststore: both files are from the same update.
            Path beside = file.resolveSibling(password.getFileName());
            KeyStore store = KeyStore.getInstance("PKCS12");
            try (InputStream bytes = Files.newInputStream(file)) {
                store.load(bytes, Files.readString(beside).toCharArray());
            }
            return store;
        }

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String type) throws CertificateException {
            present().checkClientTrusted(chain, type);
        }

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) throws CertificateException {
            present().checkClientTrusted(chain, type, socket);
        }

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) throws CertificateException {
            present().checkClientTrusted(chain, type, engine);
        }

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String type) throws CertificateException {
            present().checkServerTrusted(chain, type);
        }

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket) throws CertificateException {
            present().checkServerTrusted(chain, type, socket);
        }

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine) throws CertificateException {
            present().checkServerTrusted(chain, type, engine);
        }

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            try {
                return present().getAcceptedIssuers();
            } catch (CertificateException error) {
                return new X509Certificate[0];
            }
        }
    }
}
