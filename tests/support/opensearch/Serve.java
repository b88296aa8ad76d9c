import org.codelibs.opensearch.runner.OpenSearchRunner;

/** One OpenSearch node on 127.0.0.1: Serve DIRECTORY HTTP_PORT TRANSPORT_PORT SECONDS. Requests over 1 MB are refused, to test that. */
public class Serve {
    public static void main(String[] args) throws Exception {
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.put("http.port", args[1]);
            settings.put("transport.port", args[2]);
            settings.put("discovery.type", "single-node");
            settings.put("http.max_content_length", "1mb");
        });
        runner.build(OpenSearchRunner.newConfigs().numOfNode(1).basePath(args[0]).clusterName("tests").useLogger());
        Thread.sleep(1000L * Long.parseLong(args[3]));
        runner.close();
    }
}
