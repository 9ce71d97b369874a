// What Java makes of a truststore: its entries, and whether a TrustManager that stands on it accepts certificates.
//
//   java Truststore.java truststore.p12 password [certificate.pem ...]

import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.TreeSet;
import java.util.Collections;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

public class Truststore {
    public static void main(String[] arguments) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (FileInputStream file = new FileInputStream(arguments[0])) {
            store.load(file, arguments[1].toCharArray());
        }
        for (String alias : new TreeSet<>(Collections.list(store.aliases()))) {
            System.out.println(alias + (store.isCertificateEntry(alias) ? " trusted" : " other"));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
        factory.init(store);
        X509TrustManager manager = (X509TrustManager) factory.getTrustManagers()[0];
        for (int i = 2; i < arguments.length; i++) {
            byte[] pem = Files.readAllBytes(Path.of(arguments[i]));
            X509Certificate certificate = (X509Certificate) CertificateFactory.getInstance("X.509")
                .generateCertificate(new java.io.ByteArrayInputStream(pem));
            try {
                manager.checkClientTrusted(new X509Certificate[] {certificate}, "RSA");
                System.out.println("accepted");
            } catch (CertificateException refused) {
                System.out.println("refused");
            }
        }
    }
}
